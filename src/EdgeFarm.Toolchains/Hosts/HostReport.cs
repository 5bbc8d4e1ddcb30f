using System.Collections.Immutable;
using EdgeFarm.Core.Fleet;

namespace EdgeFarm.Toolchains.Hosts;

/// <summary>What detection found out about the machine that this process runs on.</summary>
/// <param name="HostId">Stable machine id, the same for every worker on the machine; see <see cref="HostPropertyNames.MachineId"/>.</param>
/// <param name="Properties">Properties of the host by the names in <see cref="HostPropertyNames"/>.</param>
/// <param name="Devices">The CPU first, then accelerators.</param>
/// <param name="AutoThreads">What <c>threads: auto</c> means here; at least 1.</param>
/// <param name="Notes">What is missing or doubtful and what to do about it, for <c>doctor</c>.</param>
public sealed record HostReport(
    string HostId,
    ImmutableSortedDictionary<string, PropertyValue> Properties,
    ImmutableArray<Device> Devices,
    int AutoThreads,
    ImmutableArray<string> Notes)
{
    /// <summary>Whether the machine is virtual, so that its figures carry the flag <c>virtual</c>.</summary>
    public bool IsVirtual => Properties.GetValueOrDefault(HostPropertyNames.Virtual)?.Text == "true";
}

/// <summary>Collects properties; what is unknown stays out.</summary>
internal sealed class PropertyBag
{
    private readonly ImmutableSortedDictionary<string, PropertyValue>.Builder _values =
        ImmutableSortedDictionary.CreateBuilder<string, PropertyValue>(StringComparer.Ordinal);

    public PropertyBag Set(string name, string? text)
    {
        if (!string.IsNullOrWhiteSpace(text))
        {
            _values[name] = PropertyValue.Of(text.Trim());
        }

        return this;
    }

    public PropertyBag Set(string name, double? number)
    {
        if (number is { } value && double.IsFinite(value))
        {
            _values[name] = PropertyValue.Of(value);
        }

        return this;
    }

    public PropertyBag Set(string name, IReadOnlyCollection<string> items)
    {
        if (items.Count > 0)
        {
            _values[name] = PropertyValue.Of(items);
        }

        return this;
    }

    public PropertyBag Set(string name, bool value) => Set(name, value ? "true" : "false");

    public string? Text(string name) => _values.GetValueOrDefault(name)?.Text;

    public double? Number(string name) => _values.GetValueOrDefault(name)?.Number;

    public ImmutableSortedDictionary<string, PropertyValue> ToImmutable() => _values.ToImmutable();
}
