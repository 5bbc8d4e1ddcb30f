using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using EdgeFarm.Actors;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Deployment.Tests.Scaling;
using EdgeFarm.Deployment.Tests.Support;
using EdgeFarm.Server;
using Microsoft.Data.Sqlite;

namespace EdgeFarm.Deployment.Tests.Storage;

/// <summary>The verbs <c>check</c> and <c>rebuild</c>, as processes, on what a real coordinator left.</summary>
public sealed class CheckAndRebuildTests : IAsyncLifetime
{
    private ScaledFarm _farm = null!;
    private StoredArtifact _source = null!;
    private StoredArtifact _output = null!;
    private StoredArtifact _log = null!;

    public async Task InitializeAsync()
    {
        _farm = await ScaledFarm.StartAsync();
        _source = await StoreAsync("source.gguf");
        _output = await StoreAsync("output.gguf");
        _log = await StoreAsync("log.txt");
        var runner = new GatedRunner
        {
            Outputs = _ => ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal).Add("model", _output.ToRef("gguf", "output.gguf")),
            Log = _log.Digest,
        };
        runner.Open("s-1/0");
        var template = WorkerTemplate.ParseAll("cpu-x64: os=linux arch=x64 device.kind=cpu", BuiltInToolchains.Catalog).Value[0];
        await using var pod = await Pod.StartAsync(_farm, template, "w", runner, TimeSpan.Zero);
        await _farm.SubmitAsync(
            "s-1", [(id, n) => TestSweeps.Pass(id, n) with { Outputs = ["model"], Inputs = [new JobInput("model", InputSource.Of(_source.ToRef("gguf", "source.gguf")))] }]);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        await foreach (var change in _farm.Farm.WatchAsync("s-1", null, limit.Token))
        {
            Assert.NotEqual(SweepStatus.Failed, change.Sweep.Status);
        }

        await _farm.Services.GetRequiredService<IFarmQueries>().CaughtUpAsync(limit.Token);
    }

    public async Task DisposeAsync() => await _farm.DisposeAsync();

    [Fact]
    public async Task Check_finds_every_kind_of_loss_while_the_farm_runs()
    {
        var sound = await RunAsync("check", "--data", _farm.Directory);
        Assert.Contains("3 artifacts checked, all are there and hash", sound.Expect(0), StringComparison.Ordinal);

        // What the plan names, what a row names, what an attempt left.
        Delete(_source);
        await CorruptAsync(_output);
        Delete(_log);
        var report = JsonDocument.Parse((await RunAsync("check", "--data", _farm.Directory, "--json")).Expect(1)).RootElement;
        Assert.Equal((1, 3, 0), (report.GetProperty("version").GetInt32(), report.GetProperty("checked").GetInt32(), report.GetProperty("sound").GetInt32()));
        var findings = report.GetProperty("findings").EnumerateArray().ToDictionary(f => f.GetProperty("digest").GetString()!);
        Assert.Equal(1, findings[$"{_source.Digest}"].GetProperty("missing").GetArrayLength());
        Assert.Contains("plan of sweep s-1: model of job s-1/0", Names(findings[$"{_source.Digest}"]));
        Assert.Equal(1, findings[$"{_output.Digest}"].GetProperty("corrupt").GetArrayLength());
        Assert.Contains("job s-1/0: model", Names(findings[$"{_output.Digest}"]));
        Assert.Contains(Names(findings[$"{_output.Digest}"]), n => n!.StartsWith("cached result ", StringComparison.Ordinal));
        Assert.Contains("job s-1/0: log of attempt 1", Names(findings[$"{_log.Digest}"]));
    }

    [Fact]
    public async Task Rebuild_makes_lost_rows_anew_once_the_farm_is_stopped()
    {
        var before = await RowsAsync();
        Assert.Contains("farm_jobs s-1/0", before, StringComparison.Ordinal);
        await _farm.StopAsync();
        await ExecuteAsync("delete from farm_jobs; update farm_sweeps set document = '{}', status = 1");
        Assert.NotEqual(before, await RowsAsync());

        Assert.Contains("made anew from the journal", (await RunAsync("rebuild", "--data", _farm.Directory)).Expect(0), StringComparison.Ordinal);
        Assert.Equal(before, await RowsAsync());
        (await RunAsync("rebuild", "--config", WriteConfig())).Expect(0);
        Assert.Equal(before, await RowsAsync());
    }

    [Fact]
    public async Task Rebuild_leaves_a_directory_alone_that_a_farm_holds()
    {
        using var held = Server.Hosting.DataDirectory.Open(_farm.Directory).Value;
        var run = await RunAsync("rebuild", "--data", _farm.Directory);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("is in use by another EdgeFarm process", run.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("check", "--data", "nowhere")]
    [InlineData("rebuild", "--data", "nowhere")]
    [InlineData("check", "--config", "nowhere.json")]
    [InlineData("check", "--config", "nowhere.json", "--data", "nowhere")]
    public async Task What_is_not_there_is_told(params string[] arguments)
    {
        var run = await RunAsync(arguments);
        Assert.Equal(2, run.ExitCode);
        Assert.StartsWith("error: ", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_writes_its_document_also_when_it_could_not_begin()
    {
        Assert.Equal("invalid_argument", await ErrorAsync(2, "--data", "nowhere"));
        await _farm.StopAsync();
        SqliteConnection.ClearAllPools();
        foreach (var file in Directory.GetFiles(_farm.Directory, "farm.db*"))
        {
            File.Delete(file);
        }

        await File.WriteAllTextAsync(Path.Combine(_farm.Directory, "farm.db"), "no database");
        Assert.Equal("internal", await ErrorAsync(1, "--data", _farm.Directory));
        Directory.Move(Path.Combine(_farm.Directory, "artifacts"), Path.Combine(_farm.Directory, "elsewhere"));
        Assert.Equal("invalid_argument", await ErrorAsync(2, "--data", _farm.Directory));
    }

    private static async Task<string?> ErrorAsync(int exitCode, params string[] arguments) =>
        JsonDocument.Parse((await RunAsync(["check", .. arguments, "--json"])).Expect(exitCode)).RootElement.GetProperty("error").GetProperty("code").GetString();

    private static Task<ToolRun> RunAsync(params string[] arguments) => Tool.RunAsync("dotnet", [Checkout.EdgeFarmDll, .. arguments]);

    private static string?[] Names(JsonElement finding) => [.. finding.GetProperty("named_by").EnumerateArray().Select(n => n.GetString())];

    private async Task<StoredArtifact> StoreAsync(string name)
    {
        var path = Path.Combine(_farm.Directory, name);
        await File.WriteAllTextAsync(path, $"the content of {name}");
        return (await _farm.Services.GetRequiredService<IArtifactStore>().ImportAsync(path, ImportMode.Take, default)).Value;
    }

    private string FileOf(StoredArtifact artifact) =>
        Directory.EnumerateFiles(Path.Combine(_farm.Directory, "artifacts"), artifact.Digest.Hex, SearchOption.AllDirectories).Single();

    private void Delete(StoredArtifact artifact) => File.Delete(FileOf(artifact));

    private async Task CorruptAsync(StoredArtifact artifact)
    {
        var path = FileOf(artifact);
        File.Delete(path);
        await File.WriteAllTextAsync(path, new string('x', (int)artifact.Size));
    }

    private string WriteConfig()
    {
        var path = Path.Combine(_farm.Directory, "coordinator.json");
        File.WriteAllText(path, $$"""{"Data": "{{_farm.Directory}}", "Database": {"Provider": "sqlite", "ConnectionString": ""} }""");
        return path;
    }

    private async Task<string> RowsAsync()
    {
        var text = new StringBuilder();
        await using var connection = new SqliteConnection($"Data Source={Path.Combine(_farm.Directory, "farm.rows.db")};Pooling=False");
        await connection.OpenAsync();
        foreach (var table in (string[])["farm_sweeps", "farm_jobs", "farm_entries", "farm_offsets"])
        {
            await using var command = connection.CreateCommand();
            command.CommandText = $"select * from {table} order by 1";
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                text.AppendLine($"{table} {string.Join(' ', Enumerable.Range(0, reader.FieldCount).Select(reader.GetValue))}");
            }
        }

        return text.ToString();
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var connection = new SqliteConnection($"Data Source={Path.Combine(_farm.Directory, "farm.rows.db")};Pooling=False");
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        await command.ExecuteNonQueryAsync();
    }
}
