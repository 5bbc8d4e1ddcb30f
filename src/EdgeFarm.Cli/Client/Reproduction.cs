using System.Collections.Immutable;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server;
using EdgeFarm.Server.SweepFiles;
using LocalSweepFile = EdgeFarm.Server.SweepFiles.SweepFile;

namespace EdgeFarm.Cli.Client;

/// <summary>The command that makes and measures one row again.</summary>
internal static class Reproduction
{
    /// <summary>A sweep of this row's form alone, with the sources that the farm holds, as a command to paste.</summary>
    /// <param name="entry">The row.</param>
    /// <param name="file">The file of its sweep, with the artifacts that its sources were.</param>
    public static string Command(Entry entry, EdgeFarm.Contracts.V1.SweepFile file)
    {
        var spec = LocalSweepFile.Parse(file.Yaml, BuiltInToolchains.Catalog).Spec;
        return spec is null
            ? $"{SelfCommand.Text} submit FILE --fresh   # the sweep's file is not understood by this version: 'show --json' has its recipe"
            : $"{SelfCommand.Text} submit - --fresh --watch <<'EOF'\n{SweepFileWriter.Write(Narrow(spec, entry, file.Sources))}EOF";
    }

    private static SweepSpec Narrow(SweepSpec spec, Entry entry, IReadOnlyDictionary<string, Artifact> sources)
    {
        // A path of the submitter's means nothing elsewhere, and a branch of the Hub moves; the farm holds both under their digests.
        string Held(string id, string source) =>
            (source.StartsWith("file:", StringComparison.Ordinal) || HubSource.IsMeant(source)) && sources.TryGetValue(id, out var artifact) ? $"blob:{artifact.Digest}" : source;
        var models = spec.Models.Where(m => m.Id == entry.Model).Select(m => m with { Source = Held(m.Id, m.Source) }).ToImmutableArray();
        var named = BuiltInToolchains.Catalog.Find(entry.Toolchain)?.FindForm(entry.Form);
        var recipe = named is not null
            ? new RecipeSpec(entry.Toolchain, null, [entry.Form], [], [], []) { Calibration = Calibration(named, entry) }
            : new RecipeSpec(entry.Toolchain, Stem(entry.Form), [], [.. entry.Recipe.Select(p => new PassSpec(
                p.Type, p.Parameters.ToImmutableSortedDictionary(x => x.Key, x => ImmutableArray.Create(x.Value), StringComparer.Ordinal)))], [], []);
        var quality = spec.Quality.Where(q => q.Models.IsEmpty || q.Models.Contains(entry.Model)).Select(q => q with { Models = [] }).ToImmutableArray();
        var used = quality.SelectMany(q => new[] { q.Text, q.Data }).Concat(recipe.Passes.SelectMany(p => p.Parameters.Values.SelectMany(v => v))).Append(recipe.Calibration).ToHashSet();
        return spec with
        {
            Models = models,
            Data = [.. spec.Data.Where(d => used.Contains(d.Id)).Select(d => d with { Source = Held(d.Id, d.Source) })],
            Recipes = [recipe],
            Targets = [.. spec.Targets.Where(t => t.Id == entry.Target)],
            Quality = quality,
        };
    }

    /// <summary>The data set that the row's form was calibrated with; null when it was with none.</summary>
    private static string? Calibration(FormDescriptor form, Entry entry) =>
        (form.Calibration is { } parameter ? entry.Recipe.LastOrDefault()?.Parameters.GetValueOrDefault(parameter) : null)
        ?? entry.Recipe.Select(p => p.Parameters.GetValueOrDefault("calibration")).FirstOrDefault(p => p is not null);

    /// <summary>The name that a chain was given: its form is that and the parameters that were varied.</summary>
    private static string Stem(string form)
    {
        var bracket = form.IndexOf('[', StringComparison.Ordinal);
        return bracket > 0 ? form[..bracket] : form;
    }
}
