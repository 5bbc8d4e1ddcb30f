using System.Collections;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Server.Hosting.Settings;

namespace EdgeFarm.Server.Tests.Hosting;

public sealed class SettingsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-settings-");
    private readonly Hashtable _environment = [];

    public void Dispose() => _folder.Delete(recursive: true);

    private string Write(string json)
    {
        var path = Path.Combine(_folder.FullName, "settings.json");
        File.WriteAllText(path, json);
        return path;
    }

    private EdgeFarm.Core.Jobs.Outcome<CoordinatorSettings> Coordinator(string? json, string? listen = null) =>
        CoordinatorSettings.Read(json is null ? null : Write(json), _environment, listen, null, null, insecure: false);

    private EdgeFarm.Core.Jobs.Outcome<WorkerSettings> Worker(string? json, params (string, string?, string)[] options) =>
        WorkerSettings.Read(json is null ? null : Write(json), _environment, "http://127.0.0.1:5080", options, new Dictionary<string, string> { ["team"] = "blue" });

    [Fact]
    public void Without_a_file_it_is_a_farm_of_one_on_loopback()
    {
        var settings = Coordinator(null).Value;
        Assert.True(settings.Grpc.IsLoopback);
        Assert.Null(settings.Cluster);
        Assert.Null(settings.Database);
        Assert.Empty(settings.DeviceClasses);
    }

    [Fact]
    public void Variables_win_over_the_file_and_options_over_both()
    {
        _environment["EDGEFARM__LISTEN"] = "http://127.0.0.1:2";
        _environment["EDGEFARM__DATABASE__PROVIDER"] = "postgresql";
        _environment["edgefarm__database__connectionstring"] = "Host=db;Username=farm";
        _environment["EDGEFARM__CLUSTER__SEEDS"] = "a:5082, b:5082,c:5082";
        _environment["EDGEFARM__CLUSTER__HOST"] = "b";
        _environment["EDGEFARM__ARTIFACTS__DIRECTORY"] = "/shared";
        const string file = """{"Listen": "http://127.0.0.1:1", "Http": "http://127.0.0.1:3", /* why not */ "DrainSeconds": 7,}""";
        var settings = Coordinator(file).Value;
        Assert.Equal((2, 3, 7), (settings.Grpc.Port, settings.Http.Port, (int)settings.Drain.TotalSeconds));
        Assert.Equal(("b", 5082, 2), (settings.Cluster!.Host, settings.Cluster.Port, settings.Cluster.MinimumPeers));
        Assert.Equal([("a", 5082), ("b", 5082), ("c", 5082)], settings.Cluster.Seeds.ToArray());
        Assert.Equal(4, Coordinator(file, listen: "http://127.0.0.1:4").Value.Grpc.Port);
    }

    [Fact]
    public void Device_classes_keep_their_order()
    {
        var classes = Coordinator("""{"DeviceClasses": {"z": {"require": {"arch": "x64"}}, "a": {"require": {"memory.total": 8, "os": "linux"}}}}""").Value.DeviceClasses;
        Assert.Equal(["z", "a"], classes.Select(c => c.Name));
        Assert.Equal([new Requirement("memory.total", "8"), new Requirement("os", "linux")], classes[1].Require.ToArray());
    }

    [Theory]
    [InlineData("""{"Clutser": {}}""", "Clutser is no setting", "Cluster")]
    [InlineData("""{"Cluster": {"Prot": 1}}""", "Cluster.Prot is no setting; accepted in Cluster: Host, Port, Seeds, SeedName, MinimumPeers", "settings.json")]
    [InlineData("""{"Cluster": {"Port": "5082"}}""", "Cluster.Port must be a whole number from 1 to 65535, not \"5082\"", "settings.json")]
    [InlineData("""{"Cluster": {"Port": 70000}}""", "Cluster.Port must be", "65535")]
    [InlineData("""{"Cluster": 3}""", "Cluster must be an object with Host", "settings.json")]
    [InlineData("""{"Insecure": "yes"}""", "Insecure must be true or false", "yes")]
    [InlineData("""{"Database": {"Provider": "mysql"}}""", "Database.Provider must be one of sqlite, postgresql", "mysql")]
    [InlineData("""{"DeviceClasses": {"cuda": {"needs": {}}}}""", "DeviceClasses.cuda must be an object with require alone", "needs")]
    [InlineData("""{"Listen": "0.0.0.0"}""", "Listen:", "http://HOST:PORT")]
    [InlineData("""{"Listen": "https://127.0.0.1:1"}""", "Listen:", "Tls.Certificate")]
    [InlineData("""{"Tls": {"Certificate": "x.pem"}}""", "Tls.Key:", "PEM")]
    [InlineData("""{"Tls": {"Certificate": "x.pem", "Key": "y.pem"}}""", "Listen:", "write https://")]
    [InlineData("""{"Cluster": {"Seeds": ["a:1"], "Host": "a", "Port": 1}}""", "Database.Provider:", "postgresql")]
    [InlineData("""{"Database": {"Provider": "postgresql"}}""", "Database.ConnectionString:", "EDGEFARM__DATABASE__CONNECTIONSTRING")]
    [InlineData("""{"Cluster": {"Seeds": ["nonsense"]}}""", "Cluster.Seeds: must be host:port", "nonsense")]
    [InlineData("""{"Telemetry": {"Otlp": "collector"}}""", "Telemetry.Otlp: must be http://HOST:PORT", "collector")]
    [InlineData("""{"Data": "a", "Data": "b"}""", "settings.json", "Data")]
    [InlineData("""{"Data": """, "settings.json: line 1: no JSON", "")]
    [InlineData("[]", "must hold one JSON object", "settings.json")]
    public void A_wrong_setting_is_named_with_what_is_accepted(string json, string expected, string also)
    {
        var message = Coordinator(json).Failure!.Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Contains(also, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_wrong_setting_is_told_at_once()
    {
        _environment["EDGEFARM__NONSENSE"] = "1";
        _environment["EDGEFARM__DRAINSECONDS"] = "soon";
        var lines = Coordinator("""{"A": 1, "B": 2}""").Failure!.Message.Split(Environment.NewLine);
        Assert.Equal(4, lines.Length);
        Assert.Contains(lines, l => l.StartsWith("environment variable EDGEFARM__NONSENSE: NONSENSE is no setting", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.StartsWith("environment variable EDGEFARM__DRAINSECONDS: DrainSeconds must be a whole number", StringComparison.Ordinal));
    }

    [Fact]
    public void A_cluster_must_name_this_coordinator_and_a_shared_directory()
    {
        _environment["EDGEFARM__DATABASE__CONNECTIONSTRING"] = "Host=db";
        string Refused(string cluster) =>
            Coordinator("""{"Database": {"Provider": "postgresql"}, "Cluster": """ + cluster + "}").Failure!.Message;
        Assert.Contains("as b:5082", Refused("""{"Host": "b", "Seeds": ["a:5082"]}"""), StringComparison.Ordinal);
        Assert.Contains("Artifacts.Directory", Refused("""{"Host": "a", "Seeds": ["a:5082"]}"""), StringComparison.Ordinal);
        Assert.Contains("not both", Refused("""{"SeedName": "x:5082", "Seeds": ["a:5082"]}"""), StringComparison.Ordinal);
        Assert.Contains("more than the 1", Refused("""{"Host": "a", "Seeds": ["a:5082"], "MinimumPeers": 2}"""), StringComparison.Ordinal);
        Assert.Contains("no others to speak with", Refused("""{"Authority": "ca.pem"}"""), StringComparison.Ordinal);
        _environment["EDGEFARM__ARTIFACTS__DIRECTORY"] = "artifacts";
        Assert.Contains("needs Tls.Certificate", Refused("""{"Host": "a", "Seeds": ["a:5082"], "Authority": "ca.pem"}"""), StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_about_the_connection_string_does_not_hold_it()
    {
        _environment["EDGEFARM__DATABASE__PROVIDER"] = "postgresql";
        _environment["EDGEFARM__DATABASE__CONNECTIONSTRING"] = "Host=db;Pasword=hunter2";
        var message = Coordinator(null).Failure!.Message;
        Assert.Contains("Database.ConnectionString", message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_worker_takes_lists_maps_and_labels_of_both()
    {
        _environment["EDGEFARM__FARM__0"] = "https://a:1";
        _environment["EDGEFARM__FARM__1"] = "https://b:1";
        _environment["EDGEFARM__LABELS__site"] = "lab";
        var settings = Worker("""{"Farm": ["http://old:1"], "Labels": {"team": "red"}, "DeviceClass": "cuda", "Slots": 3}""", ("Name", "w9", "--name"), ("Data", null, "--data")).Value;
        Assert.Equal(["https://a:1/", "https://b:1/"], settings.Farm.Select(f => f.ToString()));
        Assert.Equal(("blue", "lab", "cuda"), (settings.Labels["team"], settings.Labels["site"], settings.Labels["device-class"]));
        Assert.Equal((3, "w9", 300), (settings.Slots, settings.Name, (int)settings.Drain.TotalSeconds));
        Assert.Contains("--slots: Slots must be", Worker(null, ("Slots", "0", "--slots")).Failure!.Message, StringComparison.Ordinal);
        Assert.Contains("Farm: 'nowhere'", Worker(null, ("Farm", "nowhere", "--farm")).Failure!.Message, StringComparison.Ordinal);
        Assert.Equal("/opt/qnn.so", Worker("""{"ExecutionProviders": {"qnn": "/opt/qnn.so"}}""").Value.ExecutionProviders["qnn"]);
        Assert.Contains("ExecutionProviders: 'qnn'", Worker("""{"ExecutionProviders": {"qnn": "/opt/a.so;b=/opt/b.so"}}""").Failure!.Message, StringComparison.Ordinal);
        Assert.Equal("http://collector:4317/", Worker("""{"Telemetry": {"Otlp": "http://collector:4317"}}""").Value.Otlp?.ToString());
        Assert.Contains("Telemetry.Otlp: must be http://HOST:PORT", Worker("""{"Telemetry": {"Otlp": "collector"}}""").Failure!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_files_of_the_repository_are_whole_and_right()
    {
        var root = typeof(SettingsTests).Assembly.GetCustomAttributes(typeof(System.Reflection.AssemblyMetadataAttribute), false)
            .Cast<System.Reflection.AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;
        _environment["EDGEFARM__DATABASE__CONNECTIONSTRING"] = "Host=db";
        _environment["EDGEFARM__CLUSTER__HOST"] = "a";
        _environment["EDGEFARM__CLUSTER__SEEDS"] = "a:5082,b:5082,c:5082";
        var coordinator = Path.Combine(root, "cluster-config", "coordinator.json");
        Assert.Equal(DeviceClass.Defaults.Select(c => c.Name), CoordinatorSettings.Read(coordinator, _environment, null, null, null, true).Value.DeviceClasses.Select(c => c.Name));
        var worker = Path.Combine(root, "cluster-config", "worker.json");
        Assert.Equal(2, WorkerSettings.Read(worker, new Hashtable(), "http://127.0.0.1:1", [], new Dictionary<string, string>()).Value.Slots);

        // Every setting stands in its file, and in the docs.
        var docs = File.ReadAllText(Path.Combine(root, "docs", "settings.md"));
        foreach (var (file, schema) in new[] { (coordinator, SettingsSchema.Coordinator), (worker, SettingsSchema.Worker) })
        {
            var json = System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(file))!;
            foreach (var setting in schema)
            {
                var node = setting.Path.Split('.').Aggregate((System.Text.Json.Nodes.JsonNode?)json, (at, name) => at is System.Text.Json.Nodes.JsonObject section && section.ContainsKey(name) ? section[name] : null);
                Assert.True(node is not null, $"{file} lacks {setting.Path}");
                Assert.Contains($"| `{setting.Path}` | {setting.Description} |", docs, StringComparison.Ordinal);
            }
        }
    }
}
