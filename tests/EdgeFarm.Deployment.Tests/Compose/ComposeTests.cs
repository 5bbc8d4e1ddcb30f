using EdgeFarm.Deployment.Tests.Support;
using static EdgeFarm.Deployment.Tests.Compose.ComposeProject;

namespace EdgeFarm.Deployment.Tests.Compose;

public sealed class ComposeTests
{
    [SkippableFact]
    public async Task Compose_accepts_the_file_and_refuses_to_start_without_a_password()
    {
        (await ComposeProject.ConfigAsync("not-a-secret")).Expect(0);
        Assert.Contains("set it to the password", (await ComposeProject.ConfigAsync(null)).Errors, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task It_is_a_cluster_on_the_settings_files_of_kubernetes()
    {
        var project = await ComposeProject.ReadAsync();
        var services = Map(project["services"]);
        Assert.Equal(
            ["coordinator-1", "coordinator-2", "coordinator-3", "postgres", "worker-1", "worker-2"], services.Keys.Order(StringComparer.Ordinal));
        var volumes = Map(project["volumes"]).Keys.ToHashSet();
        foreach (var (name, value) in services)
        {
            var service = Map(value);
            Assert.NotEmpty(List(Map(service["healthcheck"])["test"]));
            var mounts = List(service["volumes"]).Select(v => v.Split(':')).ToList();
            Assert.All(mounts.Where(m => !m[0].StartsWith('/')), m => Assert.Contains(m[0], volumes));
            if (name == "postgres")
            {
                continue;
            }

            var role = name.Split('-')[0];
            var settings = SettingsFile.Of(role);
            Assert.Equal([role, "--config", $"/etc/edgefarm/{settings.Name}"], List(service["command"]));
            var file = mounts.Single(m => m[1] == $"/etc/edgefarm/{settings.Name}");
            Assert.Equal((Checkout.Find($"cluster-config/{settings.Name}"), "ro"), (file[0], file[2]));
            Assert.Contains(mounts, m => m[1] == settings.Text("Data"));
            Assert.True(role == "worker" || mounts.Exists(m => m[0] == "artifacts" && m[1] == settings.Text("Artifacts.Directory")));

            var environment = Map(service["environment"]).ToDictionary(e => e.Key, e => (string)e.Value);
            Assert.All(environment.Keys.Where(SettingsFile.IsSetting), v => Assert.True(settings.Has(v), $"{v} is no setting of {settings.Name}"));
            Assert.Equal(name, environment.GetValueOrDefault("EDGEFARM__Cluster__Host") ?? environment.GetValueOrDefault("EDGEFARM__Name"));
            var peers = environment.Where(e => e.Key.StartsWith("EDGEFARM__Cluster__Seeds__", StringComparison.Ordinal)).Select(e => e.Value.Split(':'))
                .Concat(environment.Where(e => e.Key.StartsWith("EDGEFARM__Farm__", StringComparison.Ordinal)).Select(e => new Uri(e.Value)).Select(u => new[] { u.Host, $"{u.Port}" }))
                .ToList();
            Assert.Equal(["coordinator-1", "coordinator-2", "coordinator-3"], peers.Select(p => p[0]).Order(StringComparer.Ordinal));
            var port = role == "worker" ? SettingsFile.Coordinator.Port("Listen") : SettingsFile.Coordinator.Number("Cluster.Port");
            Assert.All(peers, p => Assert.Equal($"{port}", p[1]));
            Assert.Contains($"/dev/tcp/127.0.0.1/{settings.Port("Http")} ", List(Map(service["healthcheck"])["test"])[^1], StringComparison.Ordinal);
            Assert.Equal("True", (string)service["read_only"], ignoreCase: true);
            var grace = (string)service["stop_grace_period"];
            Assert.True(Seconds(grace) >= settings.Number("DrainSeconds"), $"{name} is killed after {grace}, while it drains for {settings.Number("DrainSeconds")} s");
        }
    }

    [Fact]
    public async Task No_secret_stands_in_the_file()
    {
        var lines = await File.ReadAllLinesAsync(Checkout.Find(ComposeProject.FileName));
        Assert.All(lines.Where(l => l.Contains("password", StringComparison.OrdinalIgnoreCase) && !l.TrimStart().StartsWith('#')), l =>
            Assert.Contains($"${{{ComposeProject.Password}:?", l, StringComparison.Ordinal));
    }

    private static int Seconds(string duration)
    {
        var (total, number) = (0, 0);
        foreach (var c in duration)
        {
            (total, number) = c switch
            {
                'h' => (total + (number * 3600), 0),
                'm' => (total + (number * 60), 0),
                's' => (total + number, 0),
                _ => (total, (number * 10) + c - '0'),
            };
        }

        return total;
    }
}
