using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server;

namespace EdgeFarm.Deployment.Tests.Scaling;

/// <summary>Sweeps of jobs that depend on nothing.</summary>
internal static class TestSweeps
{
    private static readonly ToolchainDescriptor Toolchain = BuiltInToolchains.Catalog.Toolchains[0];
    private static readonly ImmutableSortedDictionary<string, string> Nothing = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Submits a sweep whose jobs are made from its id and their numbers.</summary>
    public static async Task SubmitAsync(this ScaledFarm farm, string id, Func<string, int, JobSpec>[] jobs)
    {
        var spec = new SweepSpec("scaled", Nothing, [new ModelSpec("m", "file:model.gguf", ImmutableSortedDictionary<string, ImmutableArray<long>>.Empty)], [], [], [], Nothing, []);
        var submitted = await farm.Farm.SubmitAsync(
            new SweepSubmission(
                id,
                "",
                Digest.OfText(id),
                "test",
                "name: scaled",
                spec,
                ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal),
                new SweepPlan([.. jobs.Select((make, n) => make(id, n))], [], []),
                false),
            default);
        Assert.True(submitted.IsOk, submitted.Failure?.Message);
    }

    public static JobSpec Pass(string sweep, int number) => new()
    {
        Id = JobSpec.MakeId(sweep, number),
        Kind = JobKind.Optimize,
        Operation = Toolchain.Passes[0].Type,
        Engine = Toolchain.Identity,
        Parameters = Nothing.Add("number", $"{number}"),
        Inputs = [],
        Outputs = [],
        Requirements = JobRequirements.None with { Toolchain = Toolchain.Identity.Id, Pass = Toolchain.Passes[0].Type, Properties = [new("os", "linux"), new("arch", "x64")] },
        Model = "m",
    };

    public static JobSpec Benchmark(string sweep, int number, string group) => Pass(sweep, number) with
    {
        Kind = JobKind.Benchmark,
        Operation = "Benchmark",
        Requirements = JobRequirements.None with { Runtime = Toolchain.Runtime!.Identity.Id, Format = Toolchain.Runtime.Reads[0], Properties = [new("device.kind", "cpu")] },
        Target = "any",
        DeviceGroup = $"m|{group}|any|0",
    };
}
