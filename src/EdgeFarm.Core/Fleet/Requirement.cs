using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Fleet;

/// <summary>How a required value is compared with the one a host has.</summary>
public enum PropertyMatch
{
    /// <summary>Equal, ignoring case.</summary>
    Exact = 0,

    /// <summary>A number that is at least the required one.</summary>
    Minimum = 1,

    /// <summary>A set that has every required member.</summary>
    Contains = 2,
}

/// <summary>A property that requirements may name.</summary>
/// <param name="Name">E.g. <c>memory.total</c>.</param>
/// <param name="Match">How it is compared.</param>
/// <param name="Unit">Unit of a number, or empty.</param>
/// <param name="Description">One line for help texts.</param>
public sealed record PropertyDefinition(string Name, PropertyMatch Match, string Unit, string Description)
{
    /// <summary>The properties that the farm knows. Others (<c>label.KEY</c>, a detector's own) are compared exactly.</summary>
    public static readonly ImmutableArray<PropertyDefinition> Known =
    [
        new("os", PropertyMatch.Exact, "", "operating system: linux, macos, windows"),
        new("arch", PropertyMatch.Exact, "", "processor architecture: x64, arm64"),
        new("device.kind", PropertyMatch.Exact, "", "kind of device: cpu, gpu, npu, attached"),
        new("device.id", PropertyMatch.Exact, "", "id of the device on its host"),
        new("device.memory", PropertyMatch.Minimum, "bytes", "memory of the device"),
        new("cpu.model", PropertyMatch.Exact, "", "processor name"),
        new("cpu.vendor", PropertyMatch.Exact, "", "processor vendor"),
        new("cpu.features", PropertyMatch.Contains, "", "instruction sets: avx2, avx512f, avx512_vnni, neon, ..."),
        new("cpu.cores.physical", PropertyMatch.Minimum, "", "physical cores"),
        new("cpu.cores.logical", PropertyMatch.Minimum, "", "logical processors"),
        new("memory.total", PropertyMatch.Minimum, "bytes", "memory of the machine"),
        new("memory.limit", PropertyMatch.Minimum, "bytes", "memory that the worker's cgroup allows"),
        new("gpu.vendor", PropertyMatch.Exact, "", "nvidia, intel, amd, apple, qualcomm"),
        new("gpu.compute_capability", PropertyMatch.Minimum, "", "CUDA compute capability, e.g. 8.9"),
        new("soc", PropertyMatch.Exact, "", "system on chip, e.g. apple-m3, snapdragon-x-elite"),
        new("host", PropertyMatch.Exact, "", "stable machine id"),
        new("worker", PropertyMatch.Exact, "", "name of the worker"),
    ];

    /// <summary>The definition of a name; an unknown name is compared exactly.</summary>
    public static PropertyDefinition Of(string name) =>
        Known.FirstOrDefault(d => d.Name == name) ?? new PropertyDefinition(name, PropertyMatch.Exact, "", "");
}

/// <summary>A condition that a host and device must meet.</summary>
/// <param name="Property">Name of the property; see <see cref="PropertyDefinition"/>.</param>
/// <param name="Value">The value as written; a number with a binary suffix (<c>16GiB</c>) is understood for byte properties, commas separate set members.</param>
public sealed record Requirement(string Property, string Value);

/// <summary>What a job needs of the worker that runs it.</summary>
/// <param name="Toolchain">Toolchain id that must offer <paramref name="Pass"/>, or null.</param>
/// <param name="Pass">Pass type, or null.</param>
/// <param name="Runtime">Runtime id that must serve the device, or null.</param>
/// <param name="Format">Format that the runtime must read, or null.</param>
/// <param name="Properties">Conditions on host and device.</param>
/// <param name="MemoryBytes">Memory that the job is expected to take at most, in bytes; 0 when unknown.</param>
public sealed record JobRequirements(
    string? Toolchain,
    string? Pass,
    string? Runtime,
    string? Format,
    ImmutableArray<Requirement> Properties,
    long MemoryBytes = 0)
{
    /// <summary>Anything will do.</summary>
    public static readonly JobRequirements None = new(null, null, null, null, []);
}

/// <summary>One thing that a worker lacks for a job.</summary>
/// <param name="What">What was asked, e.g. <c>arch = arm64</c>.</param>
/// <param name="Has">What the worker has instead; empty when it has nothing of the kind.</param>
public sealed record Lack(string What, string Has)
{
    /// <inheritdoc/>
    public override string ToString() => Has.Length == 0 ? $"needs {What}" : $"needs {What}, has {Has}";
}

/// <summary>Matches jobs with workers. Pure.</summary>
public static class RequirementMatcher
{
    /// <summary>Devices of a worker on which a job can run, in the order advertised.</summary>
    public static ImmutableArray<Device> Candidates(WorkerCapability worker, JobRequirements requirements)
    {
        var found = ImmutableArray.CreateBuilder<Device>();
        foreach (var device in worker.Devices)
        {
            if (Lacks(worker, device, requirements).IsEmpty)
            {
                found.Add(device);
            }
        }

        return found.ToImmutable();
    }

    /// <summary>What the device of a worker that comes nearest lacks; empty when some device serves.</summary>
    public static ImmutableArray<Lack> Nearest(WorkerCapability worker, JobRequirements requirements)
    {
        ImmutableArray<Lack>? best = null;
        foreach (var device in worker.Devices)
        {
            var lacks = Lacks(worker, device, requirements);
            if (best is null || lacks.Length < best.Value.Length)
            {
                best = lacks;
            }
        }

        return best ?? [new Lack("a device", "")];
    }

    /// <summary>What one device of a worker lacks.</summary>
    public static ImmutableArray<Lack> Lacks(WorkerCapability worker, Device device, JobRequirements requirements)
    {
        var lacks = ImmutableArray.CreateBuilder<Lack>();
        if (requirements.Toolchain is { } toolchain)
        {
            var installed = worker.Toolchains.FirstOrDefault(t => t.Identity.Id == toolchain);
            if (installed is null)
            {
                lacks.Add(new Lack($"toolchain {toolchain}", string.Join(", ", worker.Toolchains.Select(t => t.Identity.Id))));
            }
            else if (requirements.Pass is { } pass && !installed.Passes.Contains(pass))
            {
                lacks.Add(new Lack($"pass {pass} of {toolchain}", $"{toolchain} {installed.Identity.Release}"));
            }
        }

        if (requirements.Runtime is { } runtime)
        {
            var installed = worker.Runtimes.FirstOrDefault(r => r.Identity.Id == runtime);
            if (installed is null)
            {
                lacks.Add(new Lack($"runtime {runtime}", string.Join(", ", worker.Runtimes.Select(r => r.Identity.Id))));
            }
            else if (!installed.Devices.Contains(device.Id))
            {
                lacks.Add(new Lack($"runtime {runtime} on {device.Id}", string.Join(", ", installed.Devices)));
            }
            else if (requirements.Format is { } format && !installed.Formats.Contains(format))
            {
                lacks.Add(new Lack($"format {format} in {runtime}", string.Join(", ", installed.Formats)));
            }
        }

        foreach (var requirement in requirements.Properties)
        {
            if (Compare(worker, device, requirement) is { } lack)
            {
                lacks.Add(lack);
            }
        }

        if (requirements.MemoryBytes > 0 && device.MemoryBytes > 0 && device.MemoryBytes < requirements.MemoryBytes)
        {
            lacks.Add(new Lack($"about {SizePreflight.Text(requirements.MemoryBytes)} of memory", SizePreflight.Text(device.MemoryBytes)));
        }

        return lacks.ToImmutable();
    }

    /// <summary>Reads a number with an optional binary or decimal suffix (KiB, MiB, GiB, TiB, KB, MB, GB, TB).</summary>
    public static bool TryReadNumber(string text, out double number)
    {
        var trimmed = text.Trim();
        double factor = 1;
        foreach (var (suffix, value) in Suffixes)
        {
            if (trimmed.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
            {
                factor = value;
                trimmed = trimmed[..^suffix.Length].TrimEnd();
                break;
            }
        }

        var read = double.TryParse(trimmed, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);
        number *= factor;
        return read;
    }

    private static readonly (string Suffix, double Factor)[] Suffixes =
    [
        ("KiB", 1024d), ("MiB", 1024d * 1024), ("GiB", 1024d * 1024 * 1024), ("TiB", 1024d * 1024 * 1024 * 1024),
        ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
    ];

    private static Lack? Compare(WorkerCapability worker, Device device, Requirement requirement)
    {
        var definition = PropertyDefinition.Of(requirement.Property);
        var has = Find(worker, device, requirement.Property);
        var sign = definition.Match switch { PropertyMatch.Minimum => ">=", PropertyMatch.Contains => "has", _ => "=" };
        var lack = new Lack($"{requirement.Property} {sign} {requirement.Value}", has?.ToString() ?? "");
        if (has is null)
        {
            return lack;
        }

        var met = definition.Match switch
        {
            PropertyMatch.Minimum => has.Number is { } number && TryReadNumber(requirement.Value, out var wanted) && number >= wanted,
            PropertyMatch.Contains => has.Items is { } items
                && requirement.Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).All(items.Contains),
            _ => string.Equals(has.ToString(), requirement.Value, StringComparison.OrdinalIgnoreCase),
        };
        return met ? null : lack;
    }

    private static PropertyValue? Find(WorkerCapability worker, Device device, string property) => property switch
    {
        "device.kind" => PropertyValue.Of(device.Kind),
        "device.id" => PropertyValue.Of(device.Id),
        "device.memory" => PropertyValue.Of(device.MemoryBytes),
        "host" => PropertyValue.Of(worker.HostId),
        "worker" => PropertyValue.Of(worker.Worker),
        _ when property.StartsWith("label.", StringComparison.Ordinal) =>
            worker.Labels.TryGetValue(property[6..], out var label) ? PropertyValue.Of(label) : null,
        _ => device.Properties.GetValueOrDefault(property) ?? worker.Properties.GetValueOrDefault(property),
    };
}
