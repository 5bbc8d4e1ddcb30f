using System.Diagnostics;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors;

/// <summary>
/// The spans of a sweep, of the source <c>EdgeFarm</c>; the server exports them. A sweep is one trace: <c>submit</c>, below it a
/// <c>queue</c> for each attempt and a <c>projection</c> for each batch of its events, below <c>queue</c> the <c>job</c> on the worker with
/// its parts. What ties them is the <c>traceparent</c> of W3C Trace Context, which the submission carries through journal and
/// link. While nobody listens, nothing is made.
/// </summary>
public static class FarmTraces
{
    /// <summary>Name of the source.</summary>
    public const string SourceName = "EdgeFarm";

    /// <summary>Part of a job: inputs are fetched.</summary>
    public const string TransferIn = "transfer in";

    /// <summary>Part of a job: the child runs.</summary>
    public const string Execute = "execute";

    /// <summary>Part of a job: outputs and log are uploaded.</summary>
    public const string TransferOut = "transfer out";

    /// <summary>Tag with the sweep's id.</summary>
    public const string SweepTag = "edgefarm.sweep";

    private const string JobTag = "edgefarm.job";
    private const string AttemptTag = "edgefarm.attempt";
    private const string FenceTag = "edgefarm.fence";

    /// <summary>Length of a traceparent of version 00, the only one that exists.</summary>
    private const int TraceParentLength = 55;
    private const int TraceIdStart = 3;
    private const int TraceIdLength = 32;

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>Whether anybody listens.</summary>
    public static bool IsOn => Source.HasListeners();

    /// <summary>The traceparent that a client gave, or an empty text when it is none.</summary>
    public static string Checked(string traceParent) => TryParse(traceParent, out _) ? traceParent : "";

    /// <summary>Id of the trace, 32 hex digits, for log lines; <c>-</c> without one.</summary>
    public static string TraceIdOf(string traceParent) =>
        traceParent.Length == TraceParentLength ? traceParent.Substring(TraceIdStart, TraceIdLength) : "-";

    /// <summary>
    /// Starts the root span of a sweep, or a part of the client's trace. Call it in an async method: it takes the web server's own
    /// activity, which is not exported, out of the method's context.
    /// </summary>
    /// <param name="traceParent">What the client gave; anything.</param>
    public static Activity? StartSubmit(string traceParent)
    {
        if (!IsOn)
        {
            return null;
        }

        _ = TryParse(traceParent, out var parent);
        Activity.Current = null;
        return Source.StartActivity("submit", ActivityKind.Server, parent);
    }

    /// <summary>Starts the span of one attempt on its worker.</summary>
    /// <param name="lease">Its lease.</param>
    /// <param name="worker">Name of the worker.</param>
    public static Activity? StartJob(Lease lease, string worker)
    {
        if (Start("job", ActivityKind.Consumer, lease.TraceParent, default) is not { } span)
        {
            return null;
        }

        Describe(span, lease);
        var spec = lease.Job.Spec;
        return span.SetTag("edgefarm.worker", worker)
            .SetTag("edgefarm.kind", spec.Kind.ToString())
            .SetTag("edgefarm.operation", spec.Operation)
            .SetTag("edgefarm.engine", spec.Engine.Id);
    }

    /// <summary>Starts a part of the job that runs in this context; null where none does.</summary>
    public static Activity? StartPart(string name) => Activity.Current is { } job && job.Source == Source ? Source.StartActivity(name) : null;

    /// <summary>Records how long a job waited; its attempt stands below that.</summary>
    internal static DispatchEffect.SendLease Leased(DispatchEffect.SendLease effect, DateTimeOffset now)
    {
        var lease = effect.Lease;
        if (Start("queue", ActivityKind.Producer, lease.TraceParent, effect.QueuedAt) is not { } span)
        {
            return effect;
        }

        Describe(span, lease);
        Stop(span, now);
        return effect with { Lease = lease with { TraceParent = span.Id! } };
    }

    /// <summary>Records that events of a sweep were turned into rows.</summary>
    internal static void Projected(SweepSubmission submission, int events, DateTimeOffset since, DateTimeOffset now)
    {
        if (Start("projection", ActivityKind.Internal, submission.TraceParent, since) is { } span)
        {
            span.SetTag(SweepTag, submission.Id).SetTag("edgefarm.events", events);
            Stop(span, now);
        }
    }

    private static Activity? Start(string name, ActivityKind kind, string traceParent, DateTimeOffset at) =>
        IsOn && TryParse(traceParent, out var parent) ? Source.StartActivity(name, kind, parent, startTime: at) : null;

    private static void Stop(Activity span, DateTimeOffset at)
    {
        span.SetEndTime(at.UtcDateTime);
        span.Dispose();
    }

    private static void Describe(Activity span, Lease lease) => span.SetTag(SweepTag, lease.Sweep)
        .SetTag(JobTag, lease.Job.Spec.Id)
        .SetTag(AttemptTag, lease.Attempt)
        .SetTag(FenceTag, lease.Fence)
        .SetTag("edgefarm.device", lease.DeviceId);

    private static bool TryParse(string traceParent, out ActivityContext context)
    {
        context = default;
        return traceParent.Length == TraceParentLength && ActivityContext.TryParse(traceParent, null, isRemote: true, out context);
    }
}
