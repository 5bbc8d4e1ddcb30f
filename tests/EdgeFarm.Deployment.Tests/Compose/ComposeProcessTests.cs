using System.Text.Json;
using EdgeFarm.Deployment.Tests.Support;
using EdgeFarm.Tests.Shared;
using Npgsql;
using static EdgeFarm.Deployment.Tests.Compose.ComposeProject;

namespace EdgeFarm.Deployment.Tests.Compose;

/// <summary>
/// The Compose file without a container engine: each service's own command and environment, as a process on a host of its own with the volumes
/// where the file mounts them; the names of services lead to those hosts. What an image would bring is this checkout's build.
/// </summary>
public sealed class ComposeProcessTests : IDisposable
{
    private const string Sweep = """
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: small}
        spec:
          models: [{id: digits, source: "bundled:digits", dims: {image: [1, 1, 8, 8]}}]
          recipes: [{toolchain: onnxruntime, types: [fp32, dynamic-int8]}]
        """;

    // A service sees its own /etc and /var/lib; its first argument is the folder that has both, with the volumes in them.
    private const string Enter = """
        set -eu
        mount --bind "$0/etc" /etc
        while read -r volume target; do mount --bind "$volume" "$0/lib/$target"; done <"$0/volumes"
        mount --rbind "$0/lib" /var/lib
        exec "$@"
        """;

    private readonly string _directory = Directory.CreateTempSubdirectory("edgefarm-compose-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [SkippableFact]
    public async Task Its_services_form_a_farm_that_runs_a_sweep()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        var services = Map((await ReadAsync())["services"]).ToDictionary(s => s.Key, s => Map(s.Value));
        var (network, reason) = NetworkHosts.TryCreate();
        Skip.If(network is null, reason);
        using (network)
        {
            await using var database = await PostgresServer.StartAsync(_directory, network.Gateway, network.Subnet, port: 5432);
            await MakeDatabaseAsync(database, Map(services["postgres"]["environment"]));
            var names = services.Keys.Where(n => n != "postgres").Order(StringComparer.Ordinal).ToList();
            var hosts = names.Select((name, i) => $"{network.Address(i + 1)} {name}").Prepend("127.0.0.1 localhost").Append($"{network.Gateway} postgres");
            var roles = new List<RoleProcess>();
            try
            {
                foreach (var (name, i) in names.Select((n, i) => (n, i + 1)))
                {
                    roles.Add(await StartAsync(name, services[name], network.Namespace(i), string.Join('\n', hosts) + "\n"));
                }

                foreach (var (name, i) in names.Select((n, i) => (n, i + 1)))
                {
                    // The check is the file's own; the shell form of a list begins with CMD.
                    var check = List(Map(services[name]["healthcheck"])["test"]).Skip(1);
                    await RoleProcess.UntilAsync(
                        async () => (await Tool.RunAsync("ip", ["netns", "exec", network.Namespace(i), .. check])).ExitCode == 0, $"{name} is healthy", [.. roles]);
                }

                var file = Path.Combine(_directory, "small.yaml");
                await File.WriteAllTextAsync(file, Sweep);
                string[] farm = ["--farm", $"http://{network.Address(2)}:{SettingsFile.Coordinator.Port("Listen")}"];
                var submitted = await Tool.RunAsync("dotnet", [Checkout.EdgeFarmDll, "submit", file, "--id", "small", "--wait", .. farm]);
                Assert.True(submitted.ExitCode == 0, $"{submitted.Errors}\n{string.Join("\n---\n", roles.Select(r => r.Log))}");
                var workers = JsonDocument.Parse((await Tool.RunAsync("dotnet", [Checkout.EdgeFarmDll, "workers", "--json", .. farm])).Expect(0)).RootElement;
                Assert.Equal(["worker-1", "worker-2"], workers.GetProperty("workers").EnumerateArray().Select(w => w.GetProperty("name").GetString()).Order());
            }
            finally
            {
                roles.ForEach(r => r.Dispose());
            }
        }
    }

    private static async Task MakeDatabaseAsync(PostgresServer server, Dictionary<string, object> environment)
    {
        await using var connection = new NpgsqlConnection(server.ConnectionString);
        await connection.OpenAsync();
        await using var role = new NpgsqlCommand($"create role \"{environment["POSTGRES_USER"]}\" login", connection);
        await role.ExecuteNonQueryAsync();
        await using var database = new NpgsqlCommand($"create database \"{environment["POSTGRES_DB"]}\" owner \"{environment["POSTGRES_USER"]}\"", connection);
        await database.ExecuteNonQueryAsync();
    }

    private async Task<RoleProcess> StartAsync(string name, Dictionary<string, object> service, string networkNamespace, string hosts)
    {
        var root = Path.Combine(_directory, name);
        Directory.CreateDirectory(Path.Combine(root, "lib"));
        (await Tool.RunAsync("cp", ["-a", "/etc", Path.Combine(root, "etc")])).Expect(0);
        await File.WriteAllTextAsync(Path.Combine(root, "etc", "hosts"), hosts);
        var volumes = new List<string>();
        foreach (var mount in List(service["volumes"]).Select(v => v.Split(':')))
        {
            if (mount[0].StartsWith('/'))
            {
                Assert.StartsWith("/etc/", mount[1], StringComparison.Ordinal);
                var target = Path.Combine(root, mount[1][1..]);
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(mount[0], target);
            }
            else
            {
                Assert.StartsWith("/var/lib/", mount[1], StringComparison.Ordinal);
                var (volume, target) = (Path.Combine(_directory, "volume-" + mount[0]), mount[1]["/var/lib/".Length..]);
                Directory.CreateDirectory(volume);
                Directory.CreateDirectory(Path.Combine(root, "lib", target));
                volumes.Add($"{volume} {target}\n");
            }
        }

        await File.WriteAllTextAsync(Path.Combine(root, "volumes"), string.Concat(volumes));
        return RoleProcess.StartProgram(
            "/",
            Map(service["environment"]).Select(e => (e.Key, (string)e.Value)),
            "ip",
            ["netns", "exec", networkNamespace, "bash", "-c", Enter, root, "dotnet", Checkout.EdgeFarmDll, .. List(service["command"])]);
    }
}
