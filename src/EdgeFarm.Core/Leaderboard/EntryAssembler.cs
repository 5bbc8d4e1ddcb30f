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
        var made = lineage.Select(endOf).OfType<FinishedJob>().ToList();
        var artifact = endOf(entry.ArtifactJob)?.Report.Outcome.Result?.Outputs.GetValueOrDefault("model");
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
            BitsPerWeight = artifact is not null && Parameters(results) is { } parameters ? artifact.Size * 8 / parameters : null,
            PrecisionClass = entry.PrecisionClass,
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
            Failure = FailureOf(entry, lineage, specOf, endOf),
            Metrics = MetricsOf(entry, artifact?.Size, measured, evaluations),
            Warnings = [.. results.SelectMany(r => r.Warnings).Distinct()],
            Reports = ReportsOf(lineage.Concat(entry.EvaluationJobs).Append(entry.BenchmarkJob), specOf, endOf),
        };
    }

    /// <summary>The jobs that make an artifact, from the import on: those before it on the input <c>model</c>, and itself.</summary>
    private static List<string> Lineage(string job, Func<string, JobSpec?> specOf)
    {
        var chain = new List<string>();
        for (var current = job; current is not null && !chain.Contains(current);)
        {
            chain.Insert(0, current);
            current = specOf(current)?.Inputs.FirstOrDefault(i => i.Name == "model")?.Source.Job;
        }

        return chain;
    }

    /// <summary>The failure that keeps a row from being complete: the first in the order of the work.</summary>
    private static Failure? FailureOf(PlannedEntry entry, List<string> lineage, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf)
    {
        var baselines = entry.EvaluationJobs.SelectMany(e => specOf(e)?.Inputs.Where(i => i.Name == "baseline") ?? [])
            .Select(i => i.Source.Job).OfType<string>().Distinct().SelectMany(j => Lineage(j, specOf));
        return lineage.Append(entry.BenchmarkJob).Concat(baselines).Concat(entry.EvaluationJobs)
            .Select(j => endOf(j)?.Report.Outcome.Failure).FirstOrDefault(f => f is not null);
    }

    private static string Version(string job, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf) =>
        (endOf(job)?.Report.Outcome.Result?.Engine ?? specOf(job)?.Engine)?.ToString() ?? "";

    private static ImmutableSortedDictionary<string, MetricValue> MetricsOf(
        PlannedEntry entry, long? size, JobResult? measured, List<FinishedJob> evaluations)
    {
        var metrics = ImmutableSortedDictionary.CreateBuilder<string, MetricValue>(StringComparer.Ordinal);
        foreach (var result in evaluations.Select(e => e.Report.Outcome.Result).Append(measured).OfType<JobResult>())
        {
            foreach (var group in result.Measurements.GroupBy(m => m.Metric, StringComparer.Ordinal))
            {
                // The benchmark comes last: it owned the machine, so its load time and memory stand, not an evaluation's.
                if (Statistics.Summarize(group) is { } metric)
                {
                    metrics[group.Key] = metric;
                }
            }
        }

        if (size is { } bytes && Metrics.Find("size") is { } definition)
        {
            metrics[definition.Name] = new MetricValue(definition.Name, bytes, definition.Unit, definition.Better, 1, entry.Toolchain) { Samples = [bytes] };
        }

        return metrics.ToImmutable();
    }

    private static ImmutableSortedDictionary<string, string> ReportsOf(
        IEnumerable<string> jobs, Func<string, JobSpec?> specOf, Func<string, FinishedJob?> endOf)
    {
        var reports = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var job in jobs)
        {
            if (endOf(job)?.Report.Outcome.Result is { Report.Length: > 0 } result && specOf(job) is { } spec)
            {
                reports[spec.Operation] = result.Report;
            }
        }

        return reports.ToImmutable();
    }

    /// <summary>The number of parameters of the model, from the first report that tells it.</summary>
    private static double? Parameters(List<JobResult> results)
    {
        foreach (var result in results.Where(r => r.Report.Length > 0))
        {
            try
            {
                using var report = JsonDocument.Parse(result.Report);
                if (report.RootElement.ValueKind == JsonValueKind.Object
                    && report.RootElement.TryGetProperty("parameters", out var property)
                    && property.ValueKind == JsonValueKind.Number
                    && property.TryGetDouble(out var parameters)
                    && parameters >= 1
                    && double.IsFinite(parameters))
                {
                    return parameters;
                }
            }
            catch (JsonException)
            {
                // A report is an engine's own; one that is no JSON tells nothing.
            }
        }

        return null;
    }
}
