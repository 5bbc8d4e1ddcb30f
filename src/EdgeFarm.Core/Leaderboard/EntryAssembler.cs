using System.Collections.Immutable;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Core.Leaderboard;

/// <summary>A job that ended for good.</summary>
/// <param name="Report">Its last attempt, which decided it.</param>
/// <param name="Attempts">How many attempts it had, the last included.</param>
public sealed record FinishedJob(JobReport Report, int Attempts);

/// <summary>Makes leaderboard rows of what jobs brought. Pure, so that a projection only stores.</summary>
public static class EntryAssembler
{
    /// <summary>
    /// The row of an entry as far as its jobs have ended. <see cref="LeaderboardEntry.Relative"/> and
    /// <see cref="LeaderboardEntry.Pareto"/> need other rows: see <see cref="Relative.Fill"/> and <see cref="Pareto.Mark"/>.
    /// </summary>
    /// <param name="sweep">Id of the sweep.</param>
    /// <param name="labels">Its labels.</param>
    /// <param name="entry">The entry as planned.</param>
    /// <param name="specOf">The job of an id as planned, or null.</param>
    /// <param name="endOf">How a job ended, or null while it has not.</param>
    public static LeaderboardEntry Assemble(
        string sweep,
        ImmutableSortedDictionary<string, string> labels,
        PlannedEntry entry,
        Func<string, JobSpec?> specOf,
        Func<string, FinishedJob?> endOf)
    {
        var lineage = Lineage(entry.ArtifactJob, specOf);
        var benchmark = endOf(entry.BenchmarkJob);
        var evaluations = entry.EvaluationJobs.Select(endOf).OfType<FinishedJob>().ToList();
        var references = entry.EvaluationJobs.SelectMany(j => Producers(j, specOf)).Except(lineage).Except(entry.EvaluationJobs).Distinct().ToList();
        var made = lineage.Select(endOf).OfType<FinishedJob>().ToList();
        var artifactJob = endOf(entry.ArtifactJob)?.Report.Outcome.Result;
        var artifact = artifactJob?.Outputs.GetValueOrDefault("model");
        var measured = benchmark?.Report.Outcome.Result;
        var results = made.Concat(evaluations).Append(benchmark).Select(f => f?.Report.Outcome.Result).OfType<JobResult>().ToList();
        var figures = evaluations.Append(benchmark).OfType<FinishedJob>().Where(f => f.Report.Outcome.IsSuccess).ToList();
        return new LeaderboardEntry
        {
            Id = entry.Id,
            Sweep = sweep,
            Labels = labels,
            Model = entry.Model,
            Toolchain = entry.Toolchain,
            Runtime = entry.Runtime,
            Form = entry.Form,
            Recipe = entry.Recipe,
            Baseline = entry.IsBaseline,
            BaselineId = entry.BaselineId,
            Target = entry.Target,
            Host = measured is null ? "" : benchmark!.Report.Device?.HostId ?? "",
            Worker = measured is null ? "" : benchmark!.Report.Worker,
            Device = measured is null ? "" : benchmark!.Report.Device?.DeviceId ?? "",
            DeviceClass = measured is null ? "" : benchmark!.Report.DeviceClass,
            Artifact = artifact,
            BitsPerWeight = artifact is not null && Parameters(made, measured) is { } parameters ? artifact.Size * 8 / parameters : null,
            PrecisionClass = entry.PrecisionClass.Length > 0 ? entry.PrecisionClass : PrecisionOf(artifactJob),
            Settings = measured?.Settings ?? ImmutableSortedDictionary<string, string>.Empty,
            ToolchainVersion = Version(entry.ArtifactJob, specOf, endOf),
            RuntimeVersion = Version(entry.BenchmarkJob, specOf, endOf),
            LibraryVariant = measured?.LibraryVariant ?? "",
            LibraryDigest = measured?.LibraryDigest ?? "",
            MeasuredAt = figures.Count == 0 ? null : figures.Max(f => f.Report.Outcome.FinishedAt),
            Environment = measured?.Environment ?? ImmutableSortedDictionary<string, Fleet.PropertyValue>.Empty,
            Flags = [.. figures.SelectMany(f => f.Report.Outcome.Result!.Flags)],
            Attempts = made.Concat(evaluations).Append(benchmark).Sum(f => f?.Attempts ?? 0),
            Cached = made.Count == lineage.Count && made.Concat(evaluations).All(f => f.Report.Cached),
            Failure = lineage.Append(entry.BenchmarkJob).Concat(references).Concat(entry.EvaluationJobs)
                .Select(j => endOf(j)?.Report.Outcome.Failure).FirstOrDefault(f => f is not null),
            Metrics = MetricsOf(entry, artifact?.Size, measured, specOf, endOf),
            Warnings = [.. results.SelectMany(r => r.Warnings).Concat(VariantWarnings(entry, specOf, endOf)).Distinct()],
            Reports = ReportsOf(lineage.Concat(entry.EvaluationJobs).Append(entry.BenchmarkJob), specOf, endOf),
        };
    }

    /// <summary>The jobs that make an artifact, itself included, in the order of the work: those of the input <c>model</c> first.</summary>
    private static List<string> Lineage(string job, Func<string, JobSpec?> specOf)
    {
        var found = new List<string>();
        var open = new Stack<(string Job, bool Entered)>([(job, false)]);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        while (open.TryPop(out var next))
        {
            if (next.Entered)
            {
                found.Add(next.Job);
            }
            else if (seen.Add(next.Job))
            {
                open.Push((next.Job, true));
                foreach (var input in specOf(next.Job)?.Inputs.OrderBy(i => i.Name == "model") ?? Enumerable.Empty<JobInput>())
                {
                    if (input.Source.Job is { } producer)
                    {
                        open.Push((producer, false));
                    }
                }
            }
        }

        return found;
    }

    /// <summary>The jobs that must end before one can start, in the order of the work.</summary>
    private static IEnumerable<string> Producers(string job, Func<string, JobSpec?> specOf) =>
        Lineage(job, specOf).Where(j => j != job);

    /// <summary>Quality figures that compare two variants of a library say so: their kernels round differently.</summary>
    private static IEnumerable<string> VariantWarnings(PlannedEntry entry, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf)
    {
        foreach (var job in entry.EvaluationJobs)
        {
            var own = endOf(job)?.Report.Outcome.Result?.LibraryVariant;
            foreach (var input in specOf(job)?.Inputs.Where(i => i.Source.Job is not null && specOf(i.Source.Job)?.Kind == JobKind.Evaluate) ?? [])
            {
                if (own is { Length: > 0 } && endOf(input.Source.Job!)?.Report.Outcome.Result?.LibraryVariant is { Length: > 0 } other && other != own)
                {
                    yield return $"quality was computed by the {own} variant of the library against {input.Name} of the {other} variant; "
                        + "divergences between variants are part of the figures (some percent of a small one)";
                }
            }
        }
    }

    private static string Version(string job, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf) =>
        (endOf(job)?.Report.Outcome.Result?.Engine ?? specOf(job)?.Engine)?.ToString() ?? "";

    private static ImmutableSortedDictionary<string, MetricValue> MetricsOf(
        PlannedEntry entry, long? size, JobResult? measured, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf)
    {
        var metrics = ImmutableSortedDictionary.CreateBuilder<string, MetricValue>(StringComparer.Ordinal);
        void Add(JobResult? result, string suffix)
        {
            foreach (var group in result?.Measurements.GroupBy(m => m.Metric, StringComparer.Ordinal) ?? [])
            {
                if (Statistics.Summarize(group) is { } metric)
                {
                    metrics[group.Key + suffix] = metric with { Name = group.Key + suffix };
                }
            }
        }

        foreach (var (job, suffix) in Suffixes(entry.EvaluationJobs, specOf))
        {
            Add(endOf(job)?.Report.Outcome.Result, suffix);
        }

        // The benchmark comes last: it owned the machine, so its load time and memory stand, not an evaluation's.
        Add(measured, "");

        if (size is { } bytes && Metrics.Find("size") is { } definition)
        {
            metrics[definition.Name] = new MetricValue(definition.Name, bytes, definition.Unit, definition.Better, 1, entry.Toolchain) { Samples = [bytes] };
        }

        return metrics.ToImmutable();
    }

    /// <summary>
    /// What tells the jobs of one operation apart: nothing for the first, for the others the parameters and data in which they differ from
    /// it, as in the names of forms.
    /// </summary>
    private static IEnumerable<(string Job, string Suffix)> Suffixes(IEnumerable<string> jobs, Func<string, JobSpec?> specOf)
    {
        var first = new Dictionary<string, JobSpec>(StringComparer.Ordinal);
        foreach (var job in jobs)
        {
            if (specOf(job) is not { } spec || first.TryAdd(spec.Operation, spec))
            {
                yield return (job, "");
                continue;
            }

            var leading = first[spec.Operation];
            var differences = spec.Parameters
                .Where(p => leading.Parameters.TryGetValue(p.Key, out var other) && other != p.Value)
                .Select(p => $"{p.Key}={p.Value}")
                .Concat(spec.Inputs
                    .Where(i => i.Source.Artifact is { } own && leading.Inputs.FirstOrDefault(l => l.Name == i.Name)?.Source.Artifact is { } other && other.Digest != own.Digest)
                    .Select(i => $"{i.Name}={i.Source.Artifact!.FileName}"));
            yield return (job, string.Join(',', differences) is { Length: > 0 } text ? $"[{text}]" : "");
        }
    }

    private static ImmutableSortedDictionary<string, string> ReportsOf(
        IEnumerable<string> jobs, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf)
    {
        var reports = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var (job, suffix) in Suffixes(jobs.Distinct(), specOf))
        {
            if (endOf(job)?.Report.Outcome.Result is { Report.Length: > 0 } result && specOf(job) is { } spec)
            {
                reports[spec.Operation + suffix] = result.Report;
            }
        }

        return reports.ToImmutable();
    }

    /// <summary>The number of parameters of the form: what the last job that made it tells, since a pass may leave layers out.</summary>
    private static double? Parameters(List<FinishedJob> made, JobResult? measured) => made.Select(f => f.Report.Outcome.Result)
        .Prepend(measured).OfType<JobResult>().Reverse()
        .Select(r => Property(r, "parameters") is { ValueKind: JsonValueKind.Number } property && property.TryGetDouble(out var parameters) && parameters >= 1 && double.IsFinite(parameters)
            ? parameters
            : (double?)null)
        .FirstOrDefault(p => p is not null);

    private static string PrecisionOf(JobResult? made) =>
        made is not null && Property(made, "precision_class") is { ValueKind: JsonValueKind.String } property ? property.GetString()! : "";

    /// <summary>A property of a result's report. A report is an engine's own; one that is no JSON tells nothing.</summary>
    private static JsonElement? Property(JobResult result, string name)
    {
        if (result.Report.Length == 0)
        {
            return null;
        }

        try
        {
            using var report = JsonDocument.Parse(result.Report);
            return report.RootElement.ValueKind == JsonValueKind.Object && report.RootElement.TryGetProperty(name, out var property) ? property.Clone() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
