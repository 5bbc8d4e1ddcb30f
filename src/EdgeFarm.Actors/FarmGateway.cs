using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Hosting;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using Failure = EdgeFarm.Core.Jobs.Failure;

namespace EdgeFarm.Actors;

/// <summary>Asks the actors; the only place that does.</summary>
internal sealed class FarmGateway(
    ActorSystem system, IRequiredActor<SweepsKey> sweeps, IRequiredActor<DispatcherKey> dispatcher, RequestIds requests) : IFarm
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    /// <summary>
    /// A question may be lost with the coordinator that it was sent to; the next one finds the successor. What must not be done twice
    /// (a retry of jobs) is asked once.
    /// </summary>
    private static readonly TimeSpan RepeatAfter = TimeSpan.FromSeconds(5);

    /// <summary>A plan goes to the journal whole before its submission is acknowledged; so many jobs may take a second.</summary>
    private const double PlannedPerSecond = 10_000;

    public async Task<Outcome<SweepView>> SubmitAsync(SweepSubmission submission, CancellationToken cancellationToken)
    {
        if (submission.RequestId.Length > 0)
        {
            var (sweep, content) = await requests.ClaimAsync(submission.RequestId, submission.ContentDigest, submission.Id, cancellationToken);
            if (content != submission.ContentDigest)
            {
                return Failure.InvalidInput(
                    $"request id '{submission.RequestId}' was used before for other content (sweep {sweep}); use a new request id for a new sweep");
            }

            submission = SubmissionIds.Rename(submission, sweep);
        }

        return ToView(await AskAsync<SweepReply>(new SweepMessages.Execute(submission.Id, new SweepCommand.Submit(submission)), cancellationToken));
    }

    public async Task<Outcome<SweepView>> CancelAsync(string sweep, string reason, CancellationToken cancellationToken)
    {
        var reply = await AskAsync<SweepReply>(new SweepMessages.Execute(sweep, new SweepCommand.Cancel(reason)), cancellationToken);
        if (reply.Failure is not { Type: FailureType.InvalidInput })
        {
            return ToView(reply);
        }

        // An ended sweep stays as it is; only an unknown one is an error.
        return ToView(await AskAsync<SweepReply>(new SweepMessages.Get(sweep), cancellationToken));
    }

    public async Task<Outcome<int>> RetryAsync(string sweep, FailureType? type, CancellationToken cancellationToken)
    {
        var reply = await AskAsync<SweepReply>(new SweepMessages.Execute(sweep, new SweepCommand.Retry(type)), cancellationToken);
        return reply.Failure is { } failure ? failure : reply.Affected;
    }

    public async Task<Outcome<SweepChange>> SnapshotAsync(string sweep, ImmutableArray<string> jobs, CancellationToken cancellationToken) =>
        await AskAsync<object>(new SweepMessages.GetSnapshot(sweep) { Jobs = jobs }, cancellationToken) switch
        {
            SweepChanged changed => changed.Change,
            SweepReply { Failure: { } failure } => failure,
            var other => throw new InvalidOperationException($"a sweep answered a snapshot with {other.GetType().Name}"),
        };

    public async IAsyncEnumerable<SweepChange> WatchAsync(string sweep, long? after, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var channel = WatcherActor.MakeChannel();
        var watcher = system.ActorOf(WatcherActor.Props(await sweeps.GetAsync(cancellationToken), sweep, after, channel.Writer));
        try
        {
            await foreach (var change in channel.Reader.ReadAllAsync(cancellationToken))
            {
                yield return change;

                // A part of a snapshot that is not its last has no number; more follows whatever its status.
                if (change.Sequence != 0 && change.Sweep.Status is not (SweepStatus.Running or SweepStatus.Unspecified))
                {
                    yield break;
                }
            }
        }
        finally
        {
            system.Stop(watcher);
        }
    }

    public async Task<Outcome<JobExplanation>> ExplainAsync(string jobId, CancellationToken cancellationToken)
    {
        if (JobSpec.SweepOf(jobId) is not { } sweep)
        {
            return Failure.InvalidInput($"'{jobId}' is no job id; job ids look like SWEEP/12 ('jobs SWEEP' lists them)");
        }

        var explained = await AskAsync<JobExplained>(new SweepMessages.Explain(sweep, jobId), cancellationToken);
        if (explained.Job is not { } job)
        {
            return explained.Failure!;
        }

        WaitExplanation? wait = null;
        if (job.Status is JobStatus.Waiting or JobStatus.Running)
        {
            wait = (await AskDispatcherAsync<WaitExplained>(new DispatchMessages.ExplainWait(jobId), cancellationToken)).Wait;
        }

        return new JobExplanation(job, wait, explained.BlockedBy, explained.Digest);
    }

    public async Task<FleetView> FleetAsync(CancellationToken cancellationToken) =>
        (await AskDispatcherAsync<FleetReply>(DispatchMessages.GetFleet.Instance, cancellationToken)).Fleet;

    public async Task<FleetDemand> DemandAsync(ImmutableArray<WorkerTemplate> templates, CancellationToken cancellationToken)
    {
        var reply = await AskDispatcherAsync<DemandReply>(new DispatchMessages.GetDemand(templates), cancellationToken);
        return reply.Demand ?? throw new FarmUnavailableException("the dispatcher has just started and does not know the whole queue yet");
    }

    private static Outcome<SweepView> ToView(SweepReply reply) => reply.Failure is { } failure ? failure : reply.View!;

    private async Task<T> AskAsync<T>(ISweepMessage message, CancellationToken cancellationToken) =>
        await AskAsync<T>(await sweeps.GetAsync(cancellationToken), message, $"sweep {message.SweepId}", cancellationToken);

    private async Task<T> AskDispatcherAsync<T>(object message, CancellationToken cancellationToken) =>
        await AskAsync<T>(await dispatcher.GetAsync(cancellationToken), message, "the dispatcher", cancellationToken);

    private static async Task<T> AskAsync<T>(IActorRef actor, object message, string who, CancellationToken cancellationToken)
    {
        var once = message is SweepMessages.Execute { Command: SweepCommand.Retry };
        var longer = TimeSpan.FromSeconds(message is SweepMessages.Execute { Command: SweepCommand.Submit submit } ? submit.Submission.Plan.Jobs.Length / PlannedPerSecond : 0);
        var (patience, repeat) = (Timeout + longer, RepeatAfter + longer);
        for (var waited = TimeSpan.Zero; waited < patience; waited += repeat)
        {
            try
            {
                return await actor.Ask<T>(message, once ? patience : repeat, cancellationToken);
            }
            catch (AskTimeoutException) when (!once)
            {
                // Asked again until the whole time is over.
            }
            catch (AskTimeoutException)
            {
                break;
            }
        }

        throw new FarmUnavailableException($"{who} did not answer within {patience.TotalSeconds:0} s");
    }
}
