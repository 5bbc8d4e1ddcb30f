using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Cli.Tests;

/// <summary>The documents that scripts read, byte for byte.</summary>
public sealed class DocumentTests : CliHarness
{
    /// <summary>Members of a row that the public contract names.</summary>
    private static readonly string[] ContractMembers =
    [
        "id", "sweep", "labels", "model", "toolchain", "runtime", "form", "recipe", "baseline", "baseline_id", "target", "host", "worker",
        "device", "device_class", "artifact", "bits_per_weight", "precision_class", "settings", "toolchain_version", "runtime_version",
        "library", "measured_at", "environment", "flags", "attempts", "cached", "failure", "metrics", "relative", "pareto",
    ];

    [Fact]
    public async Task Leaderboard()
    {
        AddEntries();
        var (code, output, error) = await ClientAsync("leaderboard", "--sweep", "tiny", "--sort", "tg", "--json");

        Assert.Equal((0, ""), (code, error));
        AssertGolden("leaderboard.json", output);
        var row = Document(output)["entries"]![0]!.AsObject();
        Assert.Superset(ContractMembers.ToHashSet(), row.Select(m => m.Key).ToHashSet());
        Assert.False(row["metrics"]!["tg"]!.AsObject().ContainsKey("samples"));
    }

    [Fact]
    public async Task Leaderboard_with_samples()
    {
        AddEntries();
        var (_, output, _) = await ClientAsync("leaderboard", "--form", "Q8_0", "--json", "--samples");

        Assert.Equal("[69,70,71]", Document(output)["entries"]![0]!["metrics"]!["tg"]!["samples"]!.ToJsonString());
    }

    [Fact]
    public async Task Show()
    {
        AddEntries();
        await SubmitTinyAsync();
        var (code, output, error) = await ClientAsync("show", "tiny/e2", "--json");

        Assert.Equal((0, ""), (code, error));
        AssertGolden("show.json", output.Replace(SelfCommand.Text, "edgefarm", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Workers()
    {
        Server.Farm.Workers.Add(InMemoryFarm.Worker("w1"));
        var (code, output, _) = await ClientAsync("workers", "--json");

        Assert.Equal(0, code);
        AssertGolden("workers.json", output);
    }

    [Fact]
    public async Task Sweeps_jobs_and_why()
    {
        AddEntries();
        await SubmitTinyAsync();
        Server.Farm.Finish("tiny");

        AssertGolden("sweeps.json", (await ClientAsync("sweeps", "--json")).Out);
        AssertGolden("jobs.json", (await ClientAsync("jobs", "tiny", "--json")).Out);
        AssertGolden("why.json", (await ClientAsync("why", "tiny/0", "--json")).Out);
        AssertGolden("watch.json", (await ClientAsync("watch", "tiny", "--json")).Out);
    }

    [Fact]
    public async Task Dry_run()
    {
        Server.Farm.Workers.Add(InMemoryFarm.Worker("w1"));
        var (code, output, _) = await ClientAsync("submit", WriteSweep(Yaml), "--dry-run", "--json");

        Assert.Equal(0, code);
        var plan = Document(output)["plan"]!.AsObject();
        Assert.Equal((3, 0), ((int)plan["entries"]!, (int)plan["cache_hits"]!));
        Assert.Equal("host-1", (string)plan["devices"]![0]!["host"]!);
        Assert.True((long)plan["free_bytes"]! > 0);
    }

    [Fact]
    public async Task An_error_is_a_document_too()
    {
        var path = WriteSweep(Yaml.Replace("Q4_K_M", "Q4_K_N", StringComparison.Ordinal));
        var (code, output, error) = await ClientAsync("submit", path, "--json");

        Assert.Equal(2, code);
        Assert.StartsWith($"error: {path}:5:", error, StringComparison.Ordinal);
        var problem = Document(output)["error"]!["errors"]![0]!;
        Assert.Equal((5, "spec.recipes[0].types[2]", "Q4_K_M"), ((int)problem["line"]!, (string)problem["field"]!, (string)problem["suggestion"]!));
    }

    private void AddEntries()
    {
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "F16", 50, baseline: true));
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e2", "Q4_K_M", 90));
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e3", "Q8_0", 70));
    }
}
