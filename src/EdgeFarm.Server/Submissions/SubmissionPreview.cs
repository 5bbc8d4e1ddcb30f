using System.Collections.Immutable;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Artifacts;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.Services.Mapping;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Submissions;

/// <summary>What a submission would do: where its jobs could run, what they would store, what the cache has, what nobody can take.</summary>
internal sealed class SubmissionPreview(IFarm farm, IResultCache cache, IArtifactStore store, ToolchainCatalog catalog)
{
    private const int MaxNearest = 5;

    /// <summary>The preview of a submission.</summary>
    public async Task<Wire.DryRunResponse> MakeAsync(SweepSubmission submission, CancellationToken cancellationToken)
    {
        var plan = submission.Plan;
        var fleet = await farm.FleetAsync(cancellationToken);
        var usage = await store.UsageAsync(cancellationToken);
        var hits = submission.Fresh ? [] : await CacheHitsAsync(plan, cancellationToken);
        var response = new Wire.DryRunResponse
        {
            Jobs = plan.Jobs.Length,
            Entries = plan.Entries.Length,
            CacheHits = hits.Count,
            EstimatedBytes = EstimateBytes(plan, submission.Sources, hits),
        };
        if (usage is { IsOk: true, Value.FreeBytes: { } free })
        {
            response.FreeBytes = free;
        }

        response.Kinds.Add(plan.Jobs.GroupBy(j => j.Kind).OrderBy(g => g.Key).Select(g => new Wire.KindCount { Kind = (Wire.JobKind)g.Key, Count = g.Count() }));
        response.LeftOut.Add(plan.LeftOut.Select(l => new Wire.LeftOut { What = l.What, Reason = l.Reason }));
        Place(response, [.. plan.Jobs.Where(j => !hits.Contains(j.Id))], fleet);
        return response;
    }

    /// <summary>Follows the plan as far as results are known: what a cached job made is the input of the next.</summary>
    private async Task<HashSet<string>> CacheHitsAsync(SweepPlan plan, CancellationToken cancellationToken)
    {
        var outcomes = new Dictionary<string, JobOutcome>(StringComparer.Ordinal);
        var waiting = plan.Jobs.Where(j => j.IsCacheable).ToList();
        while (true)
        {
            var ready = waiting.Select(j => (Job: j, Inputs: Inputs(j, outcomes))).Where(r => r.Inputs is not null)
                .Select(r => (r.Job, Action: ActionDigest.Of(r.Job, r.Inputs!))).ToArray();
            if (ready.Length == 0)
            {
                return [.. outcomes.Keys];
            }

            var known = await cache.LookupAsync([.. ready.Select(r => r.Action)], cancellationToken);
            foreach (var (job, action) in ready)
            {
                waiting.Remove(job);
                if (known.TryGetValue(action, out var outcome))
                {
                    outcomes[job.Id] = outcome;
                }
            }
        }
    }

    private static ImmutableSortedDictionary<string, ArtifactRef>? Inputs(JobSpec job, Dictionary<string, JobOutcome> outcomes)
    {
        var inputs = ImmutableSortedDictionary.CreateBuilder<string, ArtifactRef>(StringComparer.Ordinal);
        foreach (var input in job.Inputs)
        {
            var artifact = input.Source.Artifact;
            if (artifact is null)
            {
                artifact = outcomes.GetValueOrDefault(input.Source.Job!)?.Result?.Outputs.GetValueOrDefault(input.Source.Output!);
            }

            if (artifact is null)
            {
                return null;
            }

            inputs[input.Name] = artifact;
        }

        return inputs.ToImmutable();
    }

    /// <summary>
    /// Bytes of the forms that are not there yet: as predicted; else the source's size times the share that the form's precision leaves of
    /// the baseline's, an upper bound.
    /// </summary>
    private long EstimateBytes(SweepPlan plan, ImmutableSortedDictionary<string, ArtifactRef> sources, HashSet<string> hits)
    {
        long total = 0;
        foreach (var form in plan.Entries.Where(e => e.Recipe.Length > 0 && !hits.Contains(e.ArtifactJob)).DistinctBy(e => e.ArtifactJob))
        {
            if (form.PredictedSize > 0)
            {
                total += form.PredictedSize;
                continue;
            }

            var toolchain = catalog.Find(form.Toolchain);
            var baseline = Bits(toolchain?.FindForm(toolchain.BaselineForm)?.PrecisionClass ?? "half");
            total += (long)(sources[form.Model].Size * Math.Min(1.0, Bits(form.PrecisionClass) / baseline));
        }

        return total;
    }

    private static double Bits(string precisionClass) => precisionClass switch
    {
        "1-2" => 3,
        "3-4" => 5,
        "5-8" => 9,
        "half" => 16,
        _ => 32,
    };

    private static void Place(Wire.DryRunResponse response, IReadOnlyList<JobSpec> jobs, FleetView fleet)
    {
        var devices = new Dictionary<(string Host, string Device), Wire.DevicePlan>();
        var stranded = new Dictionary<string, (Wire.Unplaceable Row, JobRequirements Requirements)>(StringComparer.Ordinal);
        foreach (var job in jobs)
        {
            var places = fleet.Workers
                .SelectMany(w => RequirementMatcher.Candidates(w.Capability, job.Requirements).Select(d => (Worker: w, Device: d)))
                .GroupBy(p => (p.Worker.Capability.HostId, p.Device.Id))
                .ToArray();
            foreach (var place in places)
            {
                if (!devices.TryGetValue(place.Key, out var row))
                {
                    var first = place.First().Worker;
                    devices[place.Key] = row = new Wire.DevicePlan
                    {
                        Host = place.Key.HostId,
                        Device = place.Key.Id,
                        DeviceClass = first.DeviceClasses.GetValueOrDefault(place.Key.Id, ""),
                    };
                }

                row.Workers.Add(place.Select(p => p.Worker.Capability.Worker).Except(row.Workers));
                row.Jobs++;
                row.Benchmarks += job.IsExclusive ? 1 : 0;
            }

            if (places.Length == 0)
            {
                var what = job.Target is { Length: > 0 } target ? $"{job.Operation} on target {target}" : job.Operation;
                if (!stranded.TryGetValue(what, out var row))
                {
                    stranded[what] = row = (new Wire.Unplaceable { What = what }, job.Requirements);
                }

                row.Row.Jobs++;
            }
        }

        response.Devices.Add(devices.Values.OrderBy(d => d.Host, StringComparer.Ordinal).ThenBy(d => d.Device, StringComparer.Ordinal));
        foreach (var (row, requirements) in stranded.Values)
        {
            row.Nearest.Add(fleet.Workers
                .Select(w => new NearWorker(w.Capability.Worker, RequirementMatcher.Nearest(w.Capability, requirements), ""))
                .OrderBy(n => n.Lacks.Length).Take(MaxNearest).Select(n => n.ToWire()));
            response.Unplaceable.Add(row);
        }
    }
}
