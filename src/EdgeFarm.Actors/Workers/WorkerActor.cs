using System.Collections.Immutable;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Event;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;
using Grpc.Net.Client;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Workers;

/// <summary>What a worker is.</summary>
/// <param name="Capability">What it advertises.</param>
/// <param name="Farm">Coordinators, tried in turn; at least one.</param>
public sealed record FarmWorkerOptions(WorkerCapability Capability, ImmutableArray<Uri> Farm)
{
    /// <summary>Opens a channel to a coordinator; set it for TLS and tokens.</summary>
    public Func<Uri, GrpcChannel> OpenChannel { get; init; } = WorkerLinkClient.OpenChannel;

    /// <summary>Told the coordinator that the worker is linked to, one of <see cref="Farm"/>, and null when the link is lost.</summary>
    public Action<Uri?>? LinkChanged { get; init; }

    /// <summary>How long running attempts may go on when the process is asked to stop; then they are handed back.</summary>
    public TimeSpan DrainGrace { get; init; } = TimeSpan.Zero;
}

/// <summary>Asks a worker to stop; answered with <see cref="WorkerDrained"/> when nothing runs any more.</summary>
internal sealed record DrainWorker(TimeSpan Grace) : INoSerializationVerificationNeeded;

/// <summary>The worker may exit.</summary>
internal sealed record WorkerDrained : INoSerializationVerificationNeeded;

/// <summary>
/// One worker: carries the link's messages and the ends of attempts to <see cref="WorkerState"/>, and its effects to link, job
/// runner and disk.
/// </summary>
#pragma warning disable CA1001 // An actor ends with PostStop, which disposes what it owns.
internal sealed class WorkerActor : UntypedActor, IWithTimers, IWithStash
#pragma warning restore CA1001
{
    private static readonly TimeSpan TickInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan DiskRetry = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan FarewellLimit = TimeSpan.FromSeconds(3);

    private abstract class Timer : INotInfluenceReceiveTimeout, INoSerializationVerificationNeeded;

    private sealed class Tick : Timer
    {
        public static readonly Tick Instance = new();
    }

    private sealed class Flush : Timer
    {
        public static readonly Flush Instance = new();
    }

    private sealed class Ping : Timer
    {
        public static readonly Ping Instance = new();
    }

    private sealed class Load : Timer
    {
        public static readonly Load Instance = new();
    }

    private sealed class Farewell : Timer
    {
        public static readonly Farewell Instance = new();
    }

    private sealed record Loaded(ImmutableArray<PendingResult> Kept) : INoSerializationVerificationNeeded;

    private sealed record LoadFailed(Exception Cause) : INoSerializationVerificationNeeded;

    private sealed record Ended(AttemptKey Key, JobOutcome Outcome) : INoSerializationVerificationNeeded;

    private sealed record Kept(AttemptKey Key) : INoSerializationVerificationNeeded;

    private sealed record KeepAgain(PendingResult Result) : INoSerializationVerificationNeeded;

    private readonly FarmWorkerOptions _options;
    private readonly IJobRunner _runner;
    private readonly IResultStore _results;
    private readonly TimeProvider _time;
    private readonly string _session = Guid.NewGuid().ToString("N");
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _linking = new();
    private readonly Dictionary<AttemptKey, RunningAttempt> _running = [];
    private readonly List<IActorRef> _awaitingDrain = [];
    private (string Id, Uri Coordinator, ChannelWriter<Link.WorkerMessage> Out)? _link;
    private WorkerState _state = null!;

    public WorkerActor(FarmWorkerOptions options, IJobRunner runner, IResultStore results, TimeProvider time) =>
        (_options, _runner, _results, _time) = (options, runner, results, time);

    public ITimerScheduler Timers { get; set; } = null!;

    public IStash Stash { get; set; } = null!;

    public static Props Props(FarmWorkerOptions options, IJobRunner runner, IResultStore results, TimeProvider time) =>
        Akka.Actor.Props.Create(() => new WorkerActor(options, runner, results, time));

    protected override void PreStart() => Self.Tell(Load.Instance);

    protected override void PostStop()
    {
        // The children of this worker die with it; the farm sees the link break and runs their jobs elsewhere.
        _stopping.Cancel();
        _linking.Cancel();
        foreach (var attempt in _running.Values)
        {
            attempt.Kill("the worker stops");
        }

        _link?.Out.TryComplete();
        _stopping.Dispose();
        _linking.Dispose();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case Loaded loaded:
                _state = new WorkerState(_options.Capability.Slots, loaded.Kept);
                Become(Ready);
                Timers.StartPeriodicTimer(Tick.Instance, Tick.Instance, TickInterval);
                Timers.StartPeriodicTimer(Flush.Instance, Flush.Instance, ProgressInterval);
                Timers.StartPeriodicTimer(Ping.Instance, Ping.Instance, LinkProtocol.PingInterval);
                var client = new WorkerLinkClient(_options.Farm, _options.OpenChannel, Self, _time, _log);
                var token = _linking.Token;
                Task.Run(() => client.RunAsync(token), token);
                Stash.UnstashAll();
                break;
            case Load:
                var (results, stopping) = (_results, _stopping.Token);
                Task.Run(() => results.LoadAsync(stopping)).PipeTo(Self, success: kept => new Loaded(kept), failure: e => new LoadFailed(e));
                break;
            case LoadFailed failed:
                _log.Error(
                    failed.Cause,
                    "the kept results of worker {0} could not be read; it links to the farm when they can, tried again in {1} s",
                    _options.Capability.Worker,
                    DiskRetry.TotalSeconds);
                Timers.StartSingleTimer(Load.Instance, Load.Instance, DiskRetry);
                break;
            case DrainWorker:
                // Nothing runs yet.
                Sender.Tell(new WorkerDrained());
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    private void Ready(object message)
    {
        switch (message)
        {
            case LinkReady ready:
                _link = (ready.Link, ready.Coordinator, ready.Out);
                Handle(new WorkerInput.LinkUp(ready.Link));
                break;
            case FromCoordinator from:
                Receive(from.Link, from.Message);
                break;
            case LinkBroken broken:
                if (_link?.Id == broken.Link)
                {
                    _link = null;
                    _options.LinkChanged?.Invoke(null);
                }

                Handle(new WorkerInput.LinkDown(broken.Link));
                if (Timers.IsTimerActive(Farewell.Instance))
                {
                    Leave();
                }

                break;
            case Farewell:
                Leave();
                break;
            case Ended ended:
                _running.Remove(ended.Key);
                Handle(new WorkerInput.AttemptEnded(ended.Key, ended.Outcome));
                break;
            case Kept kept:
                Handle(new WorkerInput.ResultKept(kept.Key));
                break;
            case KeepAgain again:
                Keep(again.Result);
                break;
            case Tick:
                Handle(new WorkerInput.Tick());
                break;
            case Flush:
                SendProgress();
                break;
            case Ping:
                Send(new Link.WorkerMessage { Ping = new Link.Ping() });
                break;
            case DrainWorker drain:
                _awaitingDrain.Add(Sender);
                Handle(new WorkerInput.DrainRequested(_time.GetUtcNow() + drain.Grace));
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Receive(string link, Link.CoordinatorMessage message)
    {
        switch (message.BodyCase)
        {
            case Link.CoordinatorMessage.BodyOneofCase.Welcome:
                _options.LinkChanged?.Invoke(_link?.Coordinator);
                _log.Info("worker {0} linked to the farm ({1}) as {2}", _options.Capability.Worker, message.Welcome.Release, message.Welcome.Link);
                break;
            case Link.CoordinatorMessage.BodyOneofCase.Lease:
                Handle(new WorkerInput.LeaseOffered(link, LinkMapping.ToCore(message.Lease), message.Lease.Sequence));
                break;
            case Link.CoordinatorMessage.BodyOneofCase.Revoke:
                Handle(new WorkerInput.LeaseRevoked(LinkMapping.ToCore(message.Revoke.Key), message.Revoke.Reason));
                break;
            case Link.CoordinatorMessage.BodyOneofCase.Acknowledge:
                Handle(new WorkerInput.ResultAcknowledged(LinkMapping.ToCore(message.Acknowledge.Key)));
                break;
            case Link.CoordinatorMessage.BodyOneofCase.Ping:
            case Link.CoordinatorMessage.BodyOneofCase.None:
                // None: a message of a later version.
                break;
            default:
                throw new LinkProtocolException($"{message.BodyCase} is not expected here");
        }
    }

    private void Handle(WorkerInput input)
    {
        foreach (var effect in _state.Handle(input, _time.GetUtcNow()))
        {
            switch (effect)
            {
                case WorkerEffect.SendHello e:
                    Send(new Link.WorkerMessage { Hello = LinkMapping.Hello(_options.Capability, _session, WorkerLinkService.Release, e.Held) }, e.Link);
                    break;
                case WorkerEffect.SendCredit e:
                    var credit = new Link.Credit { Shared = (uint)e.Credit.Shared, Exclusive = e.Credit.Exclusive, Sequence = e.Credit.Sequence };
                    Send(new Link.WorkerMessage { Credit = credit }, e.Link);
                    break;
                case WorkerEffect.Start e:
                    Start(e.Lease);
                    break;
                case WorkerEffect.Kill e:
                    _running.GetValueOrDefault(e.Key)?.Kill(e.Reason);
                    break;
                case WorkerEffect.KeepResult e:
                    Keep(e.Result);
                    break;
                case WorkerEffect.ForgetResult e:
                    Forget(e.Key);
                    break;
                case WorkerEffect.SendResult e:
                    Send(new Link.WorkerMessage { Result = LinkMapping.ToLink(e.Result) }, e.Link);
                    break;
                case WorkerEffect.SendReturn e:
                    Send(new Link.WorkerMessage { Return = new Link.Return { Key = LinkMapping.ToLink(e.Key) } }, e.Link);
                    break;
                case WorkerEffect.SendDraining e:
                    Send(new Link.WorkerMessage { Draining = new Link.Draining() }, e.Link);
                    break;
                case WorkerEffect.Drained when _link is { } open:
                    // What was handed back is still on its way: the process may exit when the coordinator has read all and closed the stream too.
                    open.Out.TryComplete();
                    Timers.StartSingleTimer(Farewell.Instance, Farewell.Instance, FarewellLimit);
                    break;
                case WorkerEffect.Drained:
                    Leave();
                    break;
                default:
                    throw new InvalidOperationException($"unknown worker effect {effect.GetType().Name}");
            }
        }
    }

    private void Send(Link.WorkerMessage message, string? link = null)
    {
        if (_link is { } open && (link is null || link == open.Id))
        {
            open.Out.TryWrite(message);
        }
    }

    /// <summary>Links no more, and tells whoever waits that the process may exit.</summary>
    private void Leave()
    {
        _linking.Cancel();
        Timers.Cancel(Farewell.Instance);
        _awaitingDrain.ForEach(a => a.Tell(new WorkerDrained()));
        _awaitingDrain.Clear();
    }

    private void Start(Lease lease)
    {
        var attempt = new RunningAttempt(lease);
        _running.Add(lease.Key, attempt);
        var (runner, time) = (_runner, _time);
        Task.Run(() => attempt.RunAsync(runner, time)).PipeTo(Self, success: outcome => new Ended(lease.Key, outcome));
    }

    private void Keep(PendingResult result)
    {
        var (log, self, scheduler) = (_log, Self, Context.System.Scheduler);
        _results.KeepAsync(result, _stopping.Token).PipeTo(
            self,
            success: () => new Kept(result.Lease.Key),
            failure: e =>
            {
                log.Error(e, "the result of {0} could not be kept on disk; trying again", result.Lease.Key);
                scheduler.ScheduleTellOnce(DiskRetry, self, new KeepAgain(result), ActorRefs.NoSender);
                return Tick.Instance;
            });
    }

    private void Forget(AttemptKey key)
    {
        var log = _log;
        _results.ForgetAsync(key, CancellationToken.None).ContinueWith(
            t => log.Warning(t.Exception, "the kept result of {0} could not be deleted; it will be sent again after a restart", key),
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted,
            TaskScheduler.Default);
    }

    private void SendProgress()
    {
        var progress = new Link.Progress();
        foreach (var attempt in _running.Values)
        {
            if (attempt.TakeProgress() is { } now)
            {
                progress.Attempts.Add(new Link.AttemptProgress
                {
                    Key = LinkMapping.ToLink(attempt.Lease.Key),
                    Sweep = attempt.Lease.Sweep,
                    Fraction = double.IsFinite(now.Fraction) ? Math.Clamp(now.Fraction, 0, 1) : 0,
                    Text = now.Text,
                });
            }
        }

        if (progress.Attempts.Count > 0)
        {
            Send(new Link.WorkerMessage { Progress = progress });
        }
    }
}
