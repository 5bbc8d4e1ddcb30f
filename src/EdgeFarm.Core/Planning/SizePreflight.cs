using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Planning;

/// <summary>Tells the size and memory of forms before any job runs, and which of them a sweep's limits refuse.</summary>
internal sealed class SizePreflight(SweepLimits limits, ModelShape? shape)
{
    private static readonly (string Unit, double Bytes)[] Units = [("GiB", 1024.0 * 1024 * 1024), ("MiB", 1024.0 * 1024), ("KiB", 1024)];

    /// <summary>Bytes of a form, about; 0 when nothing tells it: the model's source says no shapes, or its last pass no rule for what it was told.</summary>
    public long SizeOf(ToolchainDescriptor toolchain, ImmutableArray<PassStep> steps)
    {
        if (shape is null || steps.IsEmpty || toolchain.FindPass(steps[^1].Type) is not { Precision: { } rule } pass)
        {
            return 0;
        }

        var last = steps[^1].Parameters;
        var isPlain = rule.SizedBy.All(name => last.GetValueOrDefault(name) == pass.Parameters.FirstOrDefault(p => p.Name == name)?.Default);
        return isPlain && last.TryGetValue(rule.Parameter, out var value) && rule.Sizes.TryGetValue(value, out var size) ? size.Predict(shape) : 0;
    }

    /// <summary>Bytes of memory that a job of a runtime takes, about; 0 when unknown.</summary>
    public long MemoryOf(RuntimeDescriptor runtime, long size, ImmutableSortedDictionary<string, string> parameters) =>
        runtime.Memory?.Predict(size, shape, parameters) ?? 0;

    /// <summary>Why a limit of the sweep refuses a form, or null.</summary>
    /// <param name="size">Its bytes, or 0.</param>
    /// <param name="memory">Bytes of memory that its benchmark takes, or 0.</param>
    public string? Refusal(long size, long memory) =>
        limits.Size is { } most && size > most ? $"it would have about {Text(size)}, and limits.size is {Text(most)}"
        : limits.Memory is { } available && memory > available ? $"it would take about {Text(memory)} of memory, and limits.memory is {Text(available)}"
        : null;

    /// <summary>Bytes in words.</summary>
    public static string Text(long bytes)
    {
        foreach (var (unit, size) in Units)
        {
            if (bytes >= size)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{bytes / size:0.##} {unit}");
            }
        }

        return string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes");
    }
}
