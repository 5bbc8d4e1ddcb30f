using System.Reflection;
using System.Text.Json.Nodes;
using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Cli.Tests;

/// <summary>Runs command lines in this process against the edge on real ports.</summary>
public abstract class CliHarness : IAsyncLifetime
{
    protected const string Yaml = """
        metadata: {name: tiny, labels: {commit: 1a2b3c}}
        spec:
          models: [{id: edgefarm-tiny, source: bundled:edgefarm-tiny}]
          data: [{id: t, source: bundled:held-out}]
          recipes: [{toolchain: llama.cpp, types: [F16, Q8_0, Q4_K_M]}]
          quality: {text: t}
        """;

    private static readonly string Root =
        typeof(CliHarness).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-cli-tests-");

    private protected TestServer Server { get; private set; } = null!;

    protected string Folder => _folder.FullName;

    public virtual async Task InitializeAsync() => Server = await StartServerAsync();

    private protected virtual Task<TestServer> StartServerAsync() => TestServer.StartAsync();

    public virtual async Task DisposeAsync()
    {
        await Server.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    /// <summary>Runs a client verb against the test's farm.</summary>
    protected Task<(int Code, string Out, string Error)> ClientAsync(params string[] args) => RunAsync([.. args, "--farm", Server.Address.ToString()]);

    protected static async Task<(int Code, string Out, string Error)> RunAsync(params string[] args)
    {
        using StringWriter output = new(), error = new();
        var code = await CommandLine.RunAsync(args, new Terminal(output, error, interactive: false));
        return (code, output.ToString(), error.ToString());
    }

    protected string WriteSweep(string yaml, string name = "sweep.yaml")
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllText(path, yaml);
        return path;
    }

    /// <summary>Submits the sweep under the id <c>tiny</c>.</summary>
    protected async Task SubmitTinyAsync()
    {
        var (code, _, error) = await ClientAsync("submit", WriteSweep(Yaml), "--id", "tiny");
        Assert.True(code == 0, error);
    }

    /// <summary>Compares with the committed document; EDGEFARM_UPDATE=1 writes it anew.</summary>
    protected static void AssertGolden(string name, string actual)
    {
        var path = Path.Combine(Root, "tests", "EdgeFarm.Cli.Tests", "Golden", name);
        actual = actual.Replace("\r\n", "\n", StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable("EDGEFARM_UPDATE") == "1")
        {
            File.WriteAllText(path, actual);
        }

        Assert.Equal(File.ReadAllText(path).Replace("\r\n", "\n", StringComparison.Ordinal), actual);
    }

    protected static JsonObject Document(string text)
    {
        var document = JsonNode.Parse(text)!.AsObject();
        Assert.Equal(1, (int)document["version"]!);
        return document;
    }
}
