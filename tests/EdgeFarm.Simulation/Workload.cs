using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Simulation;

/// <summary>A machine of the simulated fleet.</summary>
internal sealed record Machine(string Id, string Arch, ImmutableArray<Device> Devices);

/// <summary>A worker of the simulated fleet.</summary>
/// <param name="Capability">What it advertises.</param>
/// <param name="Leaves">It goes away in the middle and never comes back.</param>
internal sealed record WorkerPlan(WorkerCapability Capability, bool Leaves);

/// <summary>What a simulation is about: a fleet, and sweeps that it can serve to the end.</summary>
internal sealed class Workload
{
    private static readonly EngineIdentity Tool = new("tool", "1", "c0ffee");

    private static readonly ToolchainCatalog Catalog = new(
    [
        new ToolchainDescriptor(
            Tool,
            ["raw"],
            "base",
            [
                new("base", [], "full", ""),
                new("q8", [new("Quantize", Values(("bits", "8")))], "5-8", ""),
                new("q4", [new("Simplify", Values()), new("Quantize", Values(("bits", "4")))], "3-4", ""),
                new("q2", [new("Simplify", Values()), new("Quantize", Values(("bits", "2")))], "1-2", ""),
            ],
            [
                new("Quantize", ["raw"], "raw", [new("bits", ParameterType.Integer, "8", "")], ""),
                new("Simplify", ["raw"], "raw", [], ""),
            ],
            new RuntimeDescriptor(
                Tool, ["raw"], [], ["latency"], [new("CompareOutputs", false, true, true, [], ["sqnr"])])),
    ]);

    public Workload(Rng rng)
    {
        var machines = Enumerable.Range(0, rng.Int(1, 3)).Select(i => new Machine(
            $"m{i}",
            i == 0 || rng.Chance(0.5) ? "x64" : "arm64",
            [Cpu(i), .. rng.Chance(0.3) ? [Gpu(i)] : Array.Empty<Device>()])).ToList();
        Workers = [.. Enumerable.Range(0, rng.Int(machines.Count, machines.Count + 2)).Select(i =>
            Worker($"w{i}", machines[i < machines.Count ? i : rng.Int(0, machines.Count - 1)], rng.Int(1, 3)))];
        LeaveSomeone(rng, machines);
        Coordinators = rng.Int(1, 3);
        Limits = new DispatchLimits(
            TimeSpan.FromSeconds(rng.Int(2, 8)),
            TimeSpan.FromSeconds(rng.Pick([0, 0, 3, 6])),
            TimeSpan.FromSeconds(rng.Int(15, 40)),
            TimeSpan.FromSeconds(10),
            TimeSpan.FromSeconds(5));
        Sweeps = [.. Enumerable.Range(0, rng.Int(1, 3)).Select(i => Sweep($"s{i}", rng, machines))];
    }

    public DispatchLimits Limits { get; }

    public int Coordinators { get; }

    public ImmutableArray<WorkerPlan> Workers { get; private set; }

    public ImmutableArray<SweepSubmission> Sweeps { get; }

    private static Device Cpu(int machine) => Device("cpu", "cpu", machine);

    private static Device Gpu(int machine) => Device("gpu:0", "gpu", machine);

    private static Device Device(string id, string kind, int machine) =>
        new(id, kind, ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal), (machine + 1) << 20, $"{id} of m{machine}");

    private static WorkerPlan Worker(string name, Machine machine, int slots) => new(
        new WorkerCapability(
            machine.Id,
            name,
            ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal).Add("arch", PropertyValue.Of(machine.Arch)),
            Values(),
            machine.Devices,
            [new RuntimeInfo(Tool, "", "", ["raw"], [.. machine.Devices.Select(d => d.Id)])],
            [new ToolchainInfo(Tool, ["Quantize", "Simplify"])],
            slots),
        false);

    /// <summary>At times a machine goes for good, where another one of its kind can go on.</summary>
    private void LeaveSomeone(Rng rng, List<Machine> machines)
    {
        var gone = rng.Pick(machines);
        if (rng.Chance(0.3) && machines.Exists(m => m != gone && m.Arch == gone.Arch))
        {
            Workers = [.. Workers.Select(w => w with { Leaves = w.Capability.HostId == gone.Id })];
        }
    }

    private SweepSubmission Sweep(string id, Rng rng, List<Machine> machines)
    {
        var stay = machines.Where(m => Workers.Any(w => w.Capability.HostId == m.Id && !w.Leaves)).ToList();
        var targets = stay.Select(m => m.Arch).Distinct().Where(_ => rng.Chance(0.7)).Select(arch => new TargetSpec(
            arch, Values(("arch", arch)), rng.Int(1, Math.Min(2, stay.Where(m => m.Arch == arch).Sum(m => m.Devices.Length))))).ToImmutableArray();
        var models = Enumerable.Range(0, rng.Int(1, 2)).Select(i => new ModelSpec(
            $"model{i}", $"file:model{i}", ImmutableSortedDictionary.Create<string, ImmutableArray<long>>(StringComparer.Ordinal))).ToImmutableArray();
        string[] forms = ["base", "q8", "q4", "q2"];
        var spec = new SweepSpec(
            id,
            Values(),
            models,
            [],
            [new RecipeSpec("tool", null, [.. forms.Where(_ => rng.Chance(0.6)).DefaultIfEmpty("q8")], [], [], [])],
            targets,
            Values(),
            [new QualitySpec(null, null, [], rng.Chance(0.3), Values())]);

        // Equal models in two sweeps make equal actions: the farm runs them once.
        var sources = models.ToImmutableSortedDictionary(
            m => m.Id, m => new ArtifactRef(Digest.OfText(m.Id), ArtifactKind.File, 1, "raw", m.Id), StringComparer.Ordinal);
        var plan = Planner.Plan(id, spec, sources, Catalog).Value;
        return new SweepSubmission(id, "request", Digest.OfText(id), "", "", spec, sources, plan, rng.Chance(0.2));
    }

    private static ImmutableSortedDictionary<string, string> Values(params (string Name, string Value)[] values) =>
        values.ToImmutableSortedDictionary(v => v.Name, v => v.Value, StringComparer.Ordinal);
}
