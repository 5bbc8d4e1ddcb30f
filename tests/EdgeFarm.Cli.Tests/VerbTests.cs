using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Cli.Tests;

public sealed class VerbTests : CliHarness
{
    [Theory]
    [InlineData("nonsense")]
    [InlineData("submit")]
    [InlineData("leaderboard", "--top", "many")]
    [InlineData("up", "--listen", "ftp://x")]
    [InlineData("sweeps", "--farm", "nowhere")]
    [InlineData("worker", "--slots", "0")]
    [InlineData("worker", "--label", "novalue")]
    public async Task Bad_usage_is_exit_code_2_and_speaks_on_stderr(params string[] args)
    {
        var (code, output, error) = await RunAsync(args);

        Assert.Equal((2, ""), (code, output));
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_farm_that_is_not_there_is_exit_code_3_and_tells_how_to_start_one()
    {
        var (code, _, error) = await RunAsync("sweeps", "--farm", "http://127.0.0.1:9");

        Assert.Equal(3, code);
        Assert.Equal("error: no farm answers at http://127.0.0.1:9; start a farm with './edgefarm up', or name another with --farm URL or EDGEFARM_URL", error.Trim());
    }

    [Fact]
    public async Task A_file_that_is_not_there_and_a_source_that_is_not_there_are_exit_code_2()
    {
        var (code, _, error) = await ClientAsync("submit", Path.Combine(Folder, "none.yaml"));
        Assert.Equal(2, code);
        Assert.Contains("none.yaml': there is no such file", error, StringComparison.Ordinal);

        var path = WriteSweep(Yaml.Replace("bundled:edgefarm-tiny", "file:none.gguf", StringComparison.Ordinal));
        (code, _, error) = await ClientAsync("submit", path);
        Assert.Equal(2, code);
        Assert.StartsWith($"error: {path}:3:", error, StringComparison.Ordinal);
        Assert.Contains("spec.models[0].source: there is no file or directory", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Sources_beside_the_sweep_file_are_uploaded_once()
    {
        File.WriteAllText(Path.Combine(Folder, "my.gguf"), "GGUF and what follows of mine");
        var path = WriteSweep(Yaml.Replace("bundled:edgefarm-tiny", "file:my.gguf", StringComparison.Ordinal));

        var (code, output, error) = await ClientAsync("submit", path);
        Assert.True(code == 0, error);
        Assert.Contains("uploading edgefarm-tiny: my.gguf", error, StringComparison.Ordinal);
        Assert.StartsWith("sweep tiny-", output, StringComparison.Ordinal);
        Assert.Equal(("gguf", "my.gguf"), (Server.Farm.Submissions[0].Sources["edgefarm-tiny"].Format, Server.Farm.Submissions[0].Sources["edgefarm-tiny"].FileName));

        (_, _, error) = await ClientAsync("submit", path);
        Assert.DoesNotContain("uploading", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SweepStatus.Completed, 0, 0)]
    [InlineData(SweepStatus.Partial, 4, 0)]
    [InlineData(SweepStatus.Cancelled, 1, 1)]
    public async Task The_end_of_a_sweep_is_the_exit_code(SweepStatus status, int expected, int withAllowPartial)
    {
        await SubmitTinyAsync();
        switch (status)
        {
            case SweepStatus.Completed:
                Server.Farm.Finish("tiny");
                break;
            case SweepStatus.Partial:
                Server.Farm.Finish("tiny", j => j.Kind is JobKind.Benchmark
                    ? j with { Status = JobStatus.Failed, Attempts = [new(1, "w", "h", "cpu", null, null, new Failure(FailureType.Crashed, "died of signal 6"), default)] }
                    : j with { Status = JobStatus.Succeeded });
                break;
            default:
                Assert.Equal(0, (await ClientAsync("cancel", "tiny")).Code);
                break;
        }

        var path = Path.Combine(Folder, "sweep.yaml");
        var (code, _, error) = await ClientAsync("submit", path, "--id", "tiny", "--wait");
        Assert.Equal(expected, code);
        Assert.Contains($"sweep tiny {status.ToString().ToLowerInvariant()} in 7.0 s", error, StringComparison.Ordinal);
        Assert.Equal(status is SweepStatus.Partial, error.Contains("Crashed: died of signal 6", StringComparison.Ordinal));
        Assert.Equal(withAllowPartial, (await ClientAsync("watch", "tiny", "--allow-partial")).Code);
    }

    [Fact]
    public async Task An_id_stands_for_one_sweep()
    {
        await SubmitTinyAsync();
        await SubmitTinyAsync();
        Assert.Single(Server.Farm.Submissions);

        var (code, _, error) = await ClientAsync("submit", WriteSweep(Yaml.Replace(", Q8_0", "", StringComparison.Ordinal)), "--id", "tiny");
        Assert.Equal(2, code);
        Assert.StartsWith("error: the id 'tiny' stands for another sweep already", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wait_that_takes_too_long_is_exit_code_7_and_the_sweep_goes_on()
    {
        var (code, _, error) = await ClientAsync("submit", WriteSweep(Yaml), "--id", "tiny", "--wait", "--timeout", "0.2s");

        Assert.Equal(7, code);
        Assert.Contains("the time is over, sweep tiny goes on", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_leaderboard_opens_with_what_to_take()
    {
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "F16", 50, baseline: true));
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e2", "Q4_K_M", 90));
        var (code, output, _) = await ClientAsync("leaderboard");

        Assert.Equal(0, code);
        Assert.StartsWith("Take Q4_K_M (llama.cpp) of edgefarm-tiny on cpu", output, StringComparison.Ordinal);
        var lines = output.Split('\n');
        Assert.Contains(lines, l => l.Contains("Q4_K_M", StringComparison.Ordinal) && l.Contains("90.0 ±1.1 %", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_leaderboard_as_csv()
    {
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "F16", 50, baseline: true) with { Flags = ["unsteady"] });
        AssertGolden("leaderboard.csv", (await ClientAsync("leaderboard", "--csv")).Out);
    }

    [Fact]
    public async Task An_artifact_is_pulled_by_digest_and_nothing_is_overwritten()
    {
        var source = Path.Combine(Folder, "source.bin");
        File.WriteAllBytes(source, [.. Enumerable.Range(0, 600_000).Select(i => (byte)(i * 7))]);
        var stored = (await Server.Store.ImportAsync(source, EdgeFarm.Artifacts.ImportMode.Copy, CancellationToken.None)).Value;
        var target = Path.Combine(Folder, "target.bin");

        var (code, _, error) = await ClientAsync("pull", stored.Digest.ToString(), "-o", target);
        Assert.True(code == 0, error);
        Assert.Equal(File.ReadAllBytes(source), File.ReadAllBytes(target));
        Assert.False(Path.Exists(target + ".partial"));

        (code, _, error) = await ClientAsync("pull", stored.Digest.ToString(), "-o", target);
        Assert.Equal(2, code);
        Assert.Contains("exists already", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_directory_is_pulled_as_a_directory_by_its_row()
    {
        var source = Directory.CreateDirectory(Path.Combine(Folder, "tree"));
        File.WriteAllText(Path.Combine(source.FullName, "a.txt"), "a");
        File.WriteAllText(Path.Combine(source.CreateSubdirectory("sub").FullName, "b.txt"), "b");
        var stored = (await Server.Store.ImportAsync(source.FullName, EdgeFarm.Artifacts.ImportMode.Copy, CancellationToken.None)).Value;
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "F16", 50) with { Artifact = stored.ToRef("hf", "model") });

        var (code, _, error) = await ClientAsync("pull", "tiny/e1", "-o", Folder);
        Assert.True(code == 0, error);
        Assert.Equal("b", File.ReadAllText(Path.Combine(Folder, "model", "sub", "b.txt")));
    }

    [Fact]
    public async Task Why_tells_the_nearest_worker_and_what_it_lacks()
    {
        await SubmitTinyAsync();
        var (code, output, _) = await ClientAsync("why", "tiny/0", "--cache");

        Assert.Equal(0, code);
        Assert.Contains("place 1 in the queue: no worker has arch = arm64", output, StringComparison.Ordinal);
        Assert.Contains("  w1: needs arch = arm64, has x64", output, StringComparison.Ordinal);
        Assert.Contains("  kind = Benchmark", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_does_not_exist_is_exit_code_2()
    {
        foreach (var args in new[] { new[] { "watch", "none" }, ["cancel", "none"], ["jobs", "none"], ["why", "none/1"], ["logs", "none/1"], ["show", "none"], ["retry", "none"] })
        {
            var (code, _, error) = await ClientAsync(args);
            Assert.Equal((2, true), (code, error.StartsWith("error: there is no ", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public async Task A_retry_of_an_unknown_failure_type_lists_the_known_ones()
    {
        var (code, _, error) = await ClientAsync("retry", "tiny", "--type", "Bad");
        Assert.Equal(2, code);
        Assert.Contains("accepted: InvalidInput, Unsupported, OutOfMemory", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sweep_without_failures_has_nothing_to_retry_and_that_is_no_error()
    {
        await SubmitTinyAsync();
        Server.Farm.Finish("tiny");
        Assert.Equal((0, "nothing to retry: sweep tiny has no failed job"), ((await ClientAsync("retry", "tiny")).Code, (await ClientAsync("retry", "tiny")).Out.Trim()));
        var (code, output, _) = await ClientAsync("retry", "tiny", "--json");
        Assert.Equal((0, 0), (code, (int)Document(output)["retried"]!));
    }

    [Fact]
    public async Task The_command_that_reproduces_a_row_works_from_anywhere()
    {
        Directory.CreateDirectory(Path.Combine(Folder, "sub"));
        File.WriteAllText(Path.Combine(Folder, "my.gguf"), "GGUF and what follows of mine");
        File.WriteAllText(Path.Combine(Folder, "sub", "text.txt"), "a text of mine");
        var yaml = Yaml.Replace("bundled:edgefarm-tiny", "file:my.gguf", StringComparison.Ordinal).Replace("bundled:held-out", "file:sub/text.txt", StringComparison.Ordinal);
        var (code, _, error) = await ClientAsync("submit", WriteSweep(yaml), "--id", "tiny");
        Assert.True(code == 0, error);
        Server.Farm.Entries.Add(InMemoryFarm.Entry("tiny/e1", "Q8_0", 50));

        var command = (string)Document((await ClientAsync("show", "tiny/e1", "--json")).Out)["reproduce"]!;
        Assert.DoesNotContain("file:", command, StringComparison.Ordinal);
        var sources = Server.Farm.Submissions[0].Sources;
        Assert.Contains($"source: blob:{sources["edgefarm-tiny"].Digest}", command, StringComparison.Ordinal);
        Assert.Contains($"source: blob:{sources["t"].Digest}", command, StringComparison.Ordinal);

        // Another directory, and the files are gone.
        File.Delete(Path.Combine(Folder, "my.gguf"));
        var pasted = string.Join('\n', command.Split('\n')[1..^1]);
        (code, _, error) = await ClientAsync("submit", WriteSweep(pasted, "sub/again.yaml"));
        Assert.True(code == 0, error);
    }
}
