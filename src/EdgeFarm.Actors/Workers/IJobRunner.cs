using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Actors.Workers;

/// <summary>How far an attempt is.</summary>
/// <param name="Fraction">0 to 1.</param>
/// <param name="Text">What it is doing, one line.</param>
public readonly record struct JobProgress(double Fraction, string Text);

/// <summary>Runs one attempt on this machine: fetches its inputs, runs the job host, uploads outputs and the log.</summary>
public interface IJobRunner
{
    /// <summary>
    /// Runs an attempt to its end. Failures come as an outcome; when the token is cancelled the child is killed and the
    /// outcome is a failure of type Cancelled (or <see cref="OperationCanceledException"/> is thrown).
    /// </summary>
    /// <param name="lease">What to run; its timeouts are the runner's to keep.</param>
    /// <param name="progress">Told how far it is, as often as the runner likes.</param>
    /// <param name="cancellationToken">Kills the attempt.</param>
    Task<JobOutcome> RunAsync(Lease lease, IProgress<JobProgress> progress, CancellationToken cancellationToken);
}
