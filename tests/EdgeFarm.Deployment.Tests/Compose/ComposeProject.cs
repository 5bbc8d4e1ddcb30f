using EdgeFarm.Deployment.Tests.Support;
using YamlDotNet.Serialization;

namespace EdgeFarm.Deployment.Tests.Compose;

/// <summary>The Compose file as docker-compose understands it.</summary>
internal static class ComposeProject
{
    public const string FileName = "docker-compose.cluster.yml";
    public const string Password = "EDGEFARM_POSTGRES_PASSWORD";

    /// <summary>Runs <c>docker-compose config</c>; skips the test where there is none.</summary>
    public static async Task<ToolRun> ConfigAsync(string? password)
    {
        var compose = Tool.Find("docker-compose");
        Skip.If(compose is null, "docker-compose is not on the path (Debian: apt-get install docker-compose)");
        return await Tool.RunAsync(compose, ["-f", Checkout.Find(FileName), "config"], (Password, password));
    }

    public static async Task<IReadOnlyDictionary<string, object>> ReadAsync()
    {
        var text = (await ConfigAsync("not-a-secret")).Expect(0);
        return Map(new DeserializerBuilder().Build().Deserialize<object>(text));
    }

    public static Dictionary<string, object> Map(object node) => ((Dictionary<object, object>)node).ToDictionary(p => (string)p.Key, p => p.Value ?? "");

    public static List<string> List(object node) => [.. ((List<object>)node).Select(o => (string)o)];
}
