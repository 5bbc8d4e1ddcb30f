using System.Globalization;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>Time of one operator type on one provider.</summary>
/// <param name="OpType">Operator.</param>
/// <param name="Provider">Execution provider that ran it.</param>
/// <param name="Nodes">Nodes of this type.</param>
/// <param name="Seconds">Time of all of them in one run, mean.</param>
/// <param name="Share">Share of the time of all nodes.</param>
public sealed record OperatorTime(string OpType, string Provider, int Nodes, double Seconds, double Share);

/// <summary>Time of one node.</summary>
/// <param name="Node">Its name after ONNX Runtime's rewriting.</param>
/// <param name="OpType">Operator.</param>
/// <param name="Provider">Execution provider that ran it.</param>
/// <param name="Seconds">Time in one run, mean.</param>
public sealed record NodeTime(string Node, string OpType, string Provider, double Seconds);

/// <summary>Where the time of a model goes, as ONNX Runtime's own profiler tells it.</summary>
/// <param name="Operators">By operator and provider, the longest first.</param>
/// <param name="Nodes">By node, the longest first.</param>
public sealed record OperatorProfile(IReadOnlyList<OperatorTime> Operators, IReadOnlyList<NodeTime> Nodes)
{
    private const int Runs = 10;
    private const long MaxProfileBytes = 256L << 20;
    private const string KernelTime = "_kernel_time";

    /// <summary>Nodes that ran on another provider than this one. A subgraph that a provider compiled is one node.</summary>
    public int NodesNotOn(string provider) => Nodes.Count(n => n.Provider != provider);

    /// <summary>Runs the model a few times in a session of its own with the profiler on.</summary>
    /// <exception cref="FailureException">What ONNX Runtime has against the model.</exception>
    internal static OperatorProfile Take(string modelPath, OrtSettings settings, Func<OrtSession, Dictionary<string, OrtValue>> inputs, CancellationToken cancellation)
    {
        var directory = Directory.CreateTempSubdirectory("edgefarm-profile-");
        try
        {
            string path;
            using (var session = OrtSession.Load(modelPath, settings with { ProfilePrefix = Path.Combine(directory.FullName, "ort") }))
            {
                var values = inputs(session);
                try
                {
                    for (var run = 0; run < Runs; run++)
                    {
                        cancellation.ThrowIfCancellationRequested();
                        using var outputs = session.Run(values, session.Outputs);
                    }
                }
                finally
                {
                    foreach (var value in values.Values)
                    {
                        value.Dispose();
                    }
                }

                path = session.Inner.EndProfiling();
            }

            return new FileInfo(path).Length > MaxProfileBytes ? new OperatorProfile([], []) : Parse(File.ReadAllBytes(path));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>Reads a profile: a JSON array of Chrome trace events, of which those of category Node ending in _kernel_time count.</summary>
    internal static OperatorProfile Parse(ReadOnlyMemory<byte> json)
    {
        var nodes = new Dictionary<(string Node, string OpType, string Provider), (double Microseconds, int Count)>();
        using var document = JsonDocument.Parse(json);
        foreach (var entry in document.RootElement.EnumerateArray())
        {
            if (Text(entry, "cat") != "Node" || Text(entry, "name") is not { } name || !name.EndsWith(KernelTime, StringComparison.Ordinal)
                || !entry.TryGetProperty("dur", out var duration) || !entry.TryGetProperty("args", out var arguments))
            {
                continue;
            }

            // A name alone need not be unique: subgraphs repeat it, and it may be empty.
            var node = name[..^KernelTime.Length];
            var key = (node.Length > 0 ? node : $"#{Text(arguments, "node_index")}", Text(arguments, "op_name") ?? "?", Text(arguments, "provider") ?? "?");
            var (time, count) = nodes.GetValueOrDefault(key);
            nodes[key] = (time + duration.GetDouble(), count + 1);
        }

        var all = nodes.Values.Sum(n => n.Microseconds);
        return new OperatorProfile(
            [.. nodes.GroupBy(n => (n.Key.OpType, n.Key.Provider))
                .Select(g => new OperatorTime(g.Key.OpType, g.Key.Provider, g.Count(), g.Sum(n => n.Value.Microseconds) / Runs / 1e6, all > 0 ? g.Sum(n => n.Value.Microseconds) / all : 0))
                .OrderByDescending(o => o.Seconds).ThenBy(o => o.OpType, StringComparer.Ordinal)],
            [.. nodes.Select(n => new NodeTime(n.Key.Node, n.Key.OpType, n.Key.Provider, n.Value.Microseconds / Runs / 1e6))
                .OrderByDescending(n => n.Seconds).ThenBy(n => n.Node, StringComparer.Ordinal)]);
    }

    private static string? Text(JsonElement element, string name) => !element.TryGetProperty(name, out var value) ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : value.ValueKind == JsonValueKind.Number ? value.GetDouble().ToString(CultureInfo.InvariantCulture)
        : null;
}
