using System.Text.Json.Nodes;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>A role's settings file in cluster-config, and what the environment may change in it.</summary>
internal sealed class SettingsFile
{
    private const string Prefix = "EDGEFARM__";

    private readonly JsonObject _root;

    private SettingsFile(string role)
    {
        Name = $"{role}.json";
        _root = JsonNode.Parse(File.ReadAllText(Checkout.Find($"cluster-config/{Name}")))!.AsObject();
    }

    public static SettingsFile Coordinator { get; } = new("coordinator");

    public static SettingsFile Worker { get; } = new("worker");

    public string Name { get; }

    public static SettingsFile Of(string role) => role == "worker" ? Worker : Coordinator;

    public static bool IsSetting(string variable) => variable.StartsWith(Prefix, StringComparison.Ordinal);

    /// <summary>Whether a variable names a setting of this file: each part a key, or an index of a list.</summary>
    public bool Has(string variable)
    {
        JsonNode? at = _root;
        foreach (var part in variable[Prefix.Length..].Split("__"))
        {
            switch (at)
            {
                case JsonObject { Count: > 0 } map when map.TryGetPropertyValue(part, out var value):
                    at = value;
                    break;
                case JsonObject { Count: 0 }:
                    // Labels, device classes: a map of the user's own.
                    return true;
                case JsonArray when int.TryParse(part, out _):
                    at = null;
                    break;
                default:
                    return false;
            }
        }

        return true;
    }

    public string Text(string path) => Find(path).GetValue<string>();

    public int Number(string path) => Find(path).GetValue<int>();

    /// <summary>The port of a setting that is an address.</summary>
    public int Port(string path) => new Uri(Text(path).Replace("0.0.0.0", "localhost", StringComparison.Ordinal)).Port;

    private JsonNode Find(string path) => path.Split('.').Aggregate((JsonNode)_root, (node, key) => node[key] ?? throw new InvalidOperationException($"{Name} has no {path}"));
}
