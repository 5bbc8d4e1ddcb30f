using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using Google.Protobuf.WellKnownTypes;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services.Mapping;

/// <summary>Jobs, sweeps and what belongs to them as the public API says them. Its enums have the domain's numbers.</summary>
internal static class JobMapping
{
    public static Wire.Artifact ToWire(this ArtifactRef artifact) => new()
    {
        Digest = artifact.Digest.ToString(),
        Kind = (Wire.ArtifactKind)artifact.Kind,
        Size = artifact.Size,
        Format = artifact.Format,
        FileName = artifact.FileName,
    };

    public static Wire.Failure ToWire(this Failure failure)
    {
        var wire = new Wire.Failure { Type = (Wire.FailureType)failure.Type, Message = failure.Message, LogTail = failure.LogTail };
        if (failure.ExitCode is { } code)
        {
            wire.ExitCode = code;
        }

        if (failure.Signal is { } signal)
        {
            wire.Signal = signal;
        }

        return wire;
    }

    public static Wire.Sweep ToWire(this SweepView sweep)
    {
        var wire = new Wire.Sweep
        {
            Id = sweep.Id,
            Name = sweep.Name,
            Owner = sweep.Owner,
            Status = (Wire.SweepStatus)sweep.Status,
            CacheHits = sweep.CacheHits,
            CreatedAt = sweep.CreatedAt.ToTimestamp(),
            EndedAt = sweep.EndedAt?.ToTimestamp(),
        };
        wire.Labels.Add(sweep.Labels);
        wire.Counts.Add(sweep.Counts.Where(c => c.Value > 0).Select(c => new Wire.JobCount { Status = (Wire.JobStatus)c.Key, Count = c.Value }));
        return wire;
    }

    public static Wire.Job ToWire(this JobView job)
    {
        var wire = new Wire.Job
        {
            Id = job.Id,
            Sweep = job.Sweep,
            Kind = (Wire.JobKind)job.Kind,
            Operation = job.Operation,
            Engine = job.Engine,
            Model = job.Model,
            Form = job.Form,
            Target = job.Target,
            Status = (Wire.JobStatus)job.Status,
            Cached = job.Cached,
            Progress = job.Progress,
            ProgressText = job.ProgressText,
            Action = job.Action.ToString(),
            MemoryBytes = job.MemoryBytes,
        };
        wire.Attempts.Add(job.Attempts.Select(ToWire));
        foreach (var (name, artifact) in job.Outputs)
        {
            wire.Outputs[name] = artifact.ToWire();
        }

        return wire;
    }

    public static Wire.JobExplanation ToWire(this JobExplanation explanation)
    {
        var wire = new Wire.JobExplanation { Job = explanation.Job.ToWire() };
        if (explanation.Wait is { } wait)
        {
            wire.Wait = new Wire.Wait { Position = wait.Position, Reason = wait.Reason };
            wire.Wait.Nearest.Add(wait.Nearest.Select(ToWire));
        }

        wire.BlockedBy.Add(explanation.BlockedBy);
        wire.Digest.Add(explanation.Digest.Select(d => new Wire.DigestComponent { Name = d.Key, Value = d.Value }));
        return wire;
    }

    public static Wire.NearWorker ToWire(this NearWorker near)
    {
        var wire = new Wire.NearWorker { Worker = near.Worker, Busy = near.Busy };
        wire.Lacks.Add(near.Lacks.Select(ToWire));
        return wire;
    }

    private static Wire.Lack ToWire(this Lack lack) => new() { What = lack.What, Has = lack.Has };

    private static Wire.Attempt ToWire(this AttemptView attempt) => new()
    {
        Number = attempt.Number,
        Worker = attempt.Worker,
        Host = attempt.Host,
        Device = attempt.Device,
        StartedAt = attempt.StartedAt?.ToTimestamp(),
        FinishedAt = attempt.FinishedAt?.ToTimestamp(),
        Failure = attempt.Failure?.ToWire(),
        Log = attempt.Log.ToString(),
    };
}
