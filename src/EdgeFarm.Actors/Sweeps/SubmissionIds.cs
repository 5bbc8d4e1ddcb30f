using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>Gives a submission the id of the sweep that its request made before, in every id that its plan holds.</summary>
internal static class SubmissionIds
{
    public static SweepSubmission Rename(SweepSubmission submission, string id)
    {
        if (submission.Id == id)
        {
            return submission;
        }

        var prefix = submission.Id + "/";
        string Renamed(string name) => name.StartsWith(prefix, StringComparison.Ordinal) ? $"{id}/{name[prefix.Length..]}" : name;
        var plan = submission.Plan;
        return submission with { Id = id, Plan = new SweepPlan([.. plan.Jobs.Select(j => Rename(j, Renamed))], [.. plan.Entries.Select(e => Rename(e, Renamed))], plan.LeftOut) };
    }

    private static JobSpec Rename(JobSpec job, Func<string, string> renamed) => job with
    {
        Id = renamed(job.Id),
        Inputs = [.. job.Inputs.Select(i => i.Source.Job is { } producer ? i with { Source = i.Source with { Job = renamed(producer) } } : i)],
        Entries = [.. job.Entries.Select(renamed)],
    };

    private static PlannedEntry Rename(PlannedEntry entry, Func<string, string> renamed) => entry with
    {
        Id = renamed(entry.Id),
        BaselineId = renamed(entry.BaselineId),
        ArtifactJob = renamed(entry.ArtifactJob),
        BenchmarkJob = renamed(entry.BenchmarkJob),
        EvaluationJobs = [.. entry.EvaluationJobs.Select(renamed)],
    };
}
