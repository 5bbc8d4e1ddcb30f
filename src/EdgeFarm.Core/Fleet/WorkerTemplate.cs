using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Fleet;

/// <summary>A device class together with a worker that could be started for it, so that jobs can be counted while none runs.</summary>
/// <param name="DeviceClass">Name of the class, e.g. <c>cpu-x64</c>.</param>
/// <param name="Worker">What such a worker would advertise.</param>
public sealed record WorkerTemplate(string DeviceClass, WorkerCapability Worker)
{
    /// <summary>The label by which a worker says for which class it was started; it wins over the classes of its devices.</summary>
    public const string ClassLabel = "device-class";

    private const string Toolchains = "toolchains";
    private const string KindProperty = "device.kind";
    private const string MemoryProperty = "device.memory";
    private const string IdProperty = "device.id";
    private const string LabelPrefix = "label.";
    private const string Cpu = "cpu";
    private const int MaxTemplates = 64;
    private const int MaxLength = 16 * 1024;

    /// <summary>
    /// Reads templates, one a line, in the order in which a job looks for its class:
    /// <c>cuda: os=linux arch=x64 device.kind=gpu gpu.vendor=nvidia device.memory=24GiB</c>. Sets are written with commas. The key
    /// <c>toolchains</c> names the toolchains that such a worker has; without it, all. A template whose device is no CPU has a CPU beside it.
    /// <see cref="FailureType.InvalidInput"/> names the line and what is wrong with it.
    /// </summary>
    /// <param name="text">The lines; empty ones are skipped.</param>
    /// <param name="catalog">The toolchains of the farm.</param>
    public static Outcome<ImmutableArray<WorkerTemplate>> ParseAll(string text, ToolchainCatalog catalog)
    {
        if (text.Length > MaxLength)
        {
            return Failure.InvalidInput($"the worker templates have {text.Length} characters; at most {MaxLength} are read");
        }

        var templates = ImmutableArray.CreateBuilder<WorkerTemplate>();
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var parsed = Parse(line, catalog);
            if (!parsed.IsOk)
            {
                return parsed.Failure!;
            }

            if (templates.Any(t => t.DeviceClass == parsed.Value.DeviceClass))
            {
                return Failure.InvalidInput($"the device class '{parsed.Value.DeviceClass}' has two worker templates; leave one line");
            }

            templates.Add(parsed.Value);
        }

        return templates.Count switch
        {
            0 => Failure.InvalidInput("there is no worker template; write one line a device class: NAME: os=linux arch=x64 device.kind=cpu"),
            > MaxTemplates => Failure.InvalidInput($"there are {templates.Count} worker templates; at most {MaxTemplates} are read"),
            _ => templates.ToImmutable(),
        };
    }

    private static Outcome<WorkerTemplate> Parse(string line, ToolchainCatalog catalog)
    {
        var colon = line.IndexOf(':', StringComparison.Ordinal);
        if (colon <= 0)
        {
            return Failure.InvalidInput($"'{line}' is no worker template; write NAME: os=linux arch=x64 device.kind=cpu");
        }

        var (name, rest) = (line[..colon].Trim(), line[(colon + 1)..]);
        var properties = ImmutableSortedDictionary.CreateBuilder<string, PropertyValue>(StringComparer.Ordinal);
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        labels[ClassLabel] = name;
        string kind = Cpu, id = "";
        double memory = 0;
        var toolchains = catalog.Toolchains;
        foreach (var pair in rest.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = pair.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0 || equals == pair.Length - 1)
            {
                return Failure.InvalidInput($"worker template '{name}': '{pair}' is no property; write KEY=VALUE");
            }

            var (key, value) = (pair[..equals], pair[(equals + 1)..]);
            switch (key)
            {
                case Toolchains:
                    var ids = value.Split(',', StringSplitOptions.RemoveEmptyEntries);
                    if (ids.FirstOrDefault(i => catalog.Find(i) is null) is { } unknown)
                    {
                        return Failure.InvalidInput(
                            $"worker template '{name}': there is no toolchain '{unknown}'; known: {string.Join(", ", catalog.Toolchains.Select(t => t.Identity.Id))}");
                    }

                    toolchains = [.. catalog.Toolchains.Where(t => ids.Contains(t.Identity.Id))];
                    break;
                case KindProperty:
                    kind = value;
                    break;
                case IdProperty:
                    id = value;
                    break;
                case "host" or "worker":
                    return Failure.InvalidInput($"worker template '{name}': '{key}' belongs to one worker, and a template stands for any number; leave it out");
                case var label when label.StartsWith(LabelPrefix, StringComparison.Ordinal):
                    labels[label[LabelPrefix.Length..]] = value;
                    break;
                default:
                    var match = PropertyDefinition.Of(key).Match;
                    double number = 0;
                    if (match == PropertyMatch.Minimum && !RequirementMatcher.TryReadNumber(value, out number))
                    {
                        return Failure.InvalidInput($"worker template '{name}': {key} needs a number, not '{value}'; e.g. {key}=16GiB");
                    }

                    if (key == MemoryProperty)
                    {
                        memory = number;
                        break;
                    }

                    properties[key] = match switch
                    {
                        PropertyMatch.Minimum => PropertyValue.Of(number),
                        PropertyMatch.Contains => PropertyValue.Of(value.Split(',', StringSplitOptions.RemoveEmptyEntries)),
                        _ => PropertyValue.Of(value),
                    };
                    break;
            }
        }

        if (memory is < 0 or > long.MaxValue / 2)
        {
            return Failure.InvalidInput($"worker template '{name}': {MemoryProperty} must be 0 to {long.MaxValue / 2} bytes");
        }

        // Every machine has a CPU, also one that was started for its accelerator; what stands for the accelerator is no property of the CPU.
        var all = properties.ToImmutable();
        var devices = ImmutableArray.CreateBuilder<Device>();
        devices.Add(new Device(id.Length > 0 ? id : kind, kind, kind == Cpu ? Empty : Of(all, isDevice: true), (long)memory, ""));
        if (kind != Cpu)
        {
            devices.Add(new Device(Cpu, Cpu, Empty, 0, ""));
        }

        ImmutableArray<string> deviceIds = [.. devices.Select(d => d.Id)];
        return new WorkerTemplate(name, new WorkerCapability(
            "",
            "",
            kind == Cpu ? all : Of(all, isDevice: false),
            labels.ToImmutable(),
            devices.ToImmutable(),
            [.. toolchains.Where(t => t.Runtime is not null).Select(t => new RuntimeInfo(t.Runtime!.Identity, "", "", t.Runtime.Reads, deviceIds))],
            [.. toolchains.Select(t => new ToolchainInfo(t.Identity, [.. t.Passes.Select(p => p.Type)]))],
            1));
    }

    private static readonly ImmutableSortedDictionary<string, PropertyValue> Empty =
        ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal);

    private static ImmutableSortedDictionary<string, PropertyValue> Of(ImmutableSortedDictionary<string, PropertyValue> all, bool isDevice) =>
        all.Where(p => IsOfAccelerator(p.Key) == isDevice).ToImmutableSortedDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal);

    private static bool IsOfAccelerator(string property) =>
        property.StartsWith("gpu.", StringComparison.Ordinal) || property.StartsWith("npu.", StringComparison.Ordinal)
        || property.StartsWith("device.", StringComparison.Ordinal);
}
