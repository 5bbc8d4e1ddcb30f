using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Workers;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.Hosts;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Cli.Local;

/// <summary>How far a plan is.</summary>
/// <param name="Number">Number of the running job, from 1.</param>
/// <param name="Count">How many jobs there are.</param>
/// <param name="Operation">What the job does.</param>
/// <param name="Fraction">0 to 1, of this job.</param>
/// <param name="Text">What it is doing.</param>
internal sealed record LocalStep(int Number, int Count, string Operation, double Fraction, string Text);

/// <summary>What a plan made.</summary>
/// <param name="Path">The form: a file or directory in the scratch directory, or the user's own input when nothing had to be changed.</param>
/// <param name="Format">Its format.</param>
/// <param name="IsInput">Whether it is the user's own input, unchanged.</param>
/// <param name="Results">Result of each job, in order.</param>
internal sealed record LocalResult(string Path, string Format, bool IsInput, ImmutableArray<(JobSpec Job, JobResult Result)> Results);

/// <summary>Runs the jobs of a plan on this machine, one after the other, each in a job host as a worker runs it.</summary>
/// <param name="scratch">An empty directory of this run; intermediate forms are removed from it as soon as nothing needs them.</param>
internal sealed class LocalJobs(string scratch)
{
    /// <summary>Runs them. A failure of the first that fails; the children end with the token.</summary>
    public async Task<Outcome<LocalResult>> RunAsync(LocalPlan plan, IProgress<LocalStep> progress, CancellationToken cancellation)
    {
        var command = JobHostCommand.Locate();
        if (!command.IsOk)
        {
            return command.Failure!;
        }

        var work = Directory.CreateDirectory(Path.Combine(scratch, "work")).FullName;
        var host = await HostProber.ProbeAsync(new HostProbeOptions(work), cancellation);
        var hosts = new JobHostRunner(command.Value, TimeProvider.System);

        // Beside a benchmark of a farm on this machine that one's figures would be worth nothing; a pass that measures itself needs the machine alone.
        var waiting = new LocalStep(1, plan.Jobs.Length, plan.Jobs[0].Operation, 0, "");
        var machine = await MachineLock.OfThisMachine(TimeProvider.System).AcquireAsync(plan.Jobs.Any(j => j.IsExclusive), text => progress.Report(waiting with { Text = text }), cancellation);
        if (!machine.IsOk)
        {
            return machine.Failure!;
        }

        using var shared = machine.Value;
        var made = new Dictionary<(string Job, string Output), InputFile>();
        var results = ImmutableArray.CreateBuilder<(JobSpec, JobResult)>();
        for (var i = 0; i < plan.Jobs.Length; i++)
        {
            var spec = plan.Jobs[i];
            var job = Prepare(spec, plan, made, i, host);
            var number = i + 1;
            var limits = new JobHostLimits(TimeSpan.MaxValue, work, JobRunnerSettings.DefaultMemoryLimit(host));
            var relay = new Relay(p => progress.Report(new LocalStep(number, plan.Jobs.Length, spec.Operation, p.Fraction, p.Text)));
            var run = await hosts.RunAsync(spec.Engine.Id, job, limits, relay, cancellation);
            if (run.Failure is { } failure)
            {
                cancellation.ThrowIfCancellationRequested();
                return failure;
            }

            // The child's own last report may be one that it had no time to send.
            progress.Report(new LocalStep(number, plan.Jobs.Length, spec.Operation, 1, "done"));
            var result = run.Result!;
            foreach (var output in result.Outputs)
            {
                made[(spec.Id, output.Name)] = Locate(output, job);
            }

            results.Add((spec, Warn(spec, result.Result)));
            Forget(plan, made, i);
        }

        var last = made[(plan.Jobs[^1].Id, "model")];
        return new LocalResult(last.Path, last.Artifact.Format, plan.Inputs.Values.Any(input => input.Path == last.Path), results.ToImmutable());
    }

    private JobHostJob Prepare(JobSpec spec, LocalPlan plan, Dictionary<(string Job, string Output), InputFile> made, int index, HostReport host)
    {
        var output = Path.Combine(scratch, $"out-{index}");
        Directory.CreateDirectory(output);
        return new JobHostJob
        {
            Kind = spec.Kind,
            Operation = spec.Operation,
            Parameters = spec.Parameters,
            Inputs = spec.Inputs.ToImmutableSortedDictionary(
                i => i.Name,
                i => i.Source.Artifact is { } given ? new InputFile(plan.Inputs[given.Digest].Path, given) : made[(i.Source.Job!, i.Source.Output!)],
                StringComparer.Ordinal),
            OutputDirectory = output,
            DeviceId = "cpu",
            AutoThreads = host.AutoThreads,
        };
    }

    private static InputFile Locate(OutputFile output, JobHostJob job)
    {
        if (output.SameAsInput is { } input)
        {
            var same = job.Inputs[input];
            return same with { Artifact = same.Artifact with { Format = output.Format } };
        }

        var path = Path.Combine(job.OutputDirectory, output.FileName);
        var kind = Directory.Exists(path) ? ArtifactKind.Tree : ArtifactKind.File;
        if (kind is ArtifactKind.File && !File.Exists(path))
        {
            throw new FailureException(new Failure(FailureType.Internal, $"{job.Operation} names an output '{output.FileName}' that it did not write"));
        }

        var size = kind is ArtifactKind.File ? new FileInfo(path).Length : new DirectoryInfo(path).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length);
        return new InputFile(path, new ArtifactRef(Digest.OfText(path), kind, size, output.Format, output.FileName));
    }

    /// <summary>The result, with a warning when another build ran than the one that this EdgeFarm was made for.</summary>
    private static JobResult Warn(JobSpec spec, JobResult result) => result.Engine is { } ran && ran != spec.Engine
        ? result with { Warnings = result.Warnings.Add($"made for {spec.Engine}, run by {ran}: another build of the library is in use") }
        : result;

    /// <summary>Removes what no later job reads: an intermediate form is as large as a model.</summary>
    private void Forget(LocalPlan plan, Dictionary<(string Job, string Output), InputFile> made, int done)
    {
        var later = plan.Jobs.Skip(done + 1).SelectMany(j => j.Inputs).Select(i => i.Source.Job).ToHashSet();
        var kept = made.Where(m => later.Contains(m.Key.Job) || m.Key.Job == plan.Jobs[done].Id).Select(m => m.Value.Path).ToHashSet();
        for (var i = 0; i < done; i++)
        {
            var directory = Path.Combine(scratch, $"out-{i}");
            if (Directory.Exists(directory) && !kept.Any(p => p.StartsWith(directory + Path.DirectorySeparatorChar, StringComparison.Ordinal)))
            {
                Directory.Delete(directory, recursive: true);
            }
        }
    }

    // Progress<T> would hand reports to the thread pool, out of order.
    private sealed class Relay(Action<JobHostProgress> report) : IProgress<JobHostProgress>
    {
        public void Report(JobHostProgress value) => report(value);
    }
}
