using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeFarm.Artifacts.Local;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server;

namespace EdgeFarm.Cli.Local;

/// <summary>Makes one form of one model here: what <c>convert</c> and <c>quantize</c> share.</summary>
internal static class LocalForm
{
    /// <summary>Plans, runs, writes the output and tells about it. Throws what the user is to be told.</summary>
    public static async Task<int> MakeAsync(LocalContext context, LocalRequest request, string output)
    {
        var plan = LocalPlan.Make(request, BuiltInToolchains.Catalog);
        using var target = LocalOutput.Open(output, plan.Inputs.Values);
        var outcome = await LocalProgress.ShowAsync(
            context.Terminal, progress => new LocalJobs(target.Scratch).RunAsync(plan, progress, context.Cancellation));
        var made = outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);
        target.Place(made);
        var hashed = await LocalArtifact.HashAsync(target.Target, CancellationToken.None);
        var artifact = hashed.IsOk ? hashed.Value.Artifact : throw new FailureException(hashed.Failure!);
        var warnings = made.Results.SelectMany(r => r.Result.Warnings).Distinct().ToArray();
        foreach (var warning in warnings)
        {
            context.Terminal.Error.WriteLine($"warning: {warning}");
        }

        var bits = Bits(made);
        if (!context.Json)
        {
            var weight = bits is { } b ? string.Create(CultureInfo.InvariantCulture, $", {b:0.00} bits per weight") : "";
            foreach (var line in made.Results.SelectMany(r => JsonDocuments.Explanation(r.Result.Report)))
            {
                context.Terminal.Out.WriteLine(line);
            }

            context.Terminal.Out.WriteLine($"{target.Target}: {plan.Form}, {Figures.Bytes(artifact.Size)}{weight}, {artifact.Digest}");
            return ExitCodes.Done;
        }

        var last = made.Results[^1].Result;
        context.WriteDocument(new JsonObject
        {
            ["path"] = target.Target,
            ["form"] = plan.Form,
            ["toolchain"] = plan.Toolchain.Identity.Id,
            ["format"] = made.Format,
            ["artifact"] = artifact.Digest.ToString(),
            ["kind"] = artifact.Kind.ToString().ToLowerInvariant(),
            ["size"] = artifact.Size,
            ["bits_per_weight"] = bits,
            ["precision_class"] = plan.PrecisionClass,
            ["toolchain_version"] = (last.Engine ?? plan.Toolchain.Identity).Release,
            ["library"] = new JsonObject { ["variant"] = last.LibraryVariant, ["digest"] = last.LibraryDigest },
            ["recipe"] = new JsonArray([.. plan.Steps.Select(s => new JsonObject
            {
                ["type"] = s.Type,
                ["parameters"] = new JsonObject(s.Parameters.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
            })]),
            ["warnings"] = new JsonArray([.. warnings.Select(w => JsonValue.Create(w))]),
            ["flags"] = new JsonArray([.. made.Results.SelectMany(r => r.Result.Flags).Distinct().Select(f => JsonValue.Create(f))]),
            ["reports"] = new JsonArray([.. made.Results.Select(r => new JsonObject { ["operation"] = r.Job.Operation, ["report"] = Parse(r.Result.Report) })]),
        });
        return ExitCodes.Done;
    }

    /// <summary>Bits per weight, where the last job's report tells.</summary>
    private static double? Bits(LocalResult made) =>
        Parse(made.Results[^1].Result.Report) is JsonObject report && report["bits_per_weight"] is JsonValue value && value.TryGetValue<double>(out var bits) ? bits : null;

    private static JsonNode? Parse(string report)
    {
        try
        {
            return report.Length == 0 ? null : JsonNode.Parse(report);
        }
        catch (JsonException)
        {
            return report;
        }
    }
}
