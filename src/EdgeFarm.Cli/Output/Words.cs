using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Output;

/// <summary>Statuses as words.</summary>
internal static class Words
{
    public static string Of(SweepStatus status) => status.ToString().ToLowerInvariant();

    public static string Of(JobStatus status) => status.ToString().ToLowerInvariant();

    /// <summary>The counts of a sweep's jobs as one phrase.</summary>
    public static string Counts(Sweep sweep)
    {
        var text = string.Join(", ", sweep.Counts.OrderByDescending(c => c.Status is JobStatus.Succeeded).Select(c => $"{c.Count} {Of(c.Status)}"));
        return sweep.CacheHits > 0 ? $"{text} ({sweep.CacheHits} from the cache)" : text;
    }

    /// <summary>What a job does, for people.</summary>
    public static string Of(Job job)
    {
        var what = job.Kind is JobKind.Import ? $"import {job.Model}" : $"{(job.Form.Length == 0 ? job.Model : $"{job.Model} {job.Form}")}: {job.Operation}";
        return job.Target.Length > 0 && job.Kind is JobKind.Benchmark ? $"{what} on {job.Target}" : what;
    }

    /// <summary>The failure type of a word in any spelling (OutOfMemory, out_of_memory), or null.</summary>
    public static FailureType? FailureTypeOf(string word)
    {
        var plain = word.Replace("_", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal);
        return Enum.GetValues<FailureType>().Cast<FailureType?>()
            .FirstOrDefault(t => t is not FailureType.Unspecified && string.Equals(t.ToString(), plain, StringComparison.OrdinalIgnoreCase));
    }
}
