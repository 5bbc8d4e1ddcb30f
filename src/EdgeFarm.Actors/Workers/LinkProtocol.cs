namespace EdgeFarm.Actors.Workers;

/// <summary>Constants of the worker link.</summary>
public static class LinkProtocol
{
    /// <summary>
    /// Version of the worker link that this release speaks. 2: a worker says its drain time, and the coordinator gives it only jobs
    /// that fit; a worker of version 1 takes any.
    /// </summary>
    public const uint Version = 2;

    /// <summary>Oldest version that a coordinator of this release serves: one before its own.</summary>
    public const uint OldestServed = Version - 1;

    /// <summary>Each side sends a ping this often; shorter than the idle timeout of common proxies (60 s).</summary>
    public static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(20);

    /// <summary>A side that has heard nothing for this long takes the link for dead: three pings were lost.</summary>
    public static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(65);

    /// <summary>
    /// Both ends ping the connection below a link this often, and give it up when an answer takes as long: so a worker is at another
    /// coordinator before the farm gives away what it runs, and the farm soon misses one that is cut off.
    /// </summary>
    public static readonly TimeSpan KeepAliveInterval = TimeSpan.FromSeconds(4);

    /// <summary>How long a coordinator waits for Hello, and a worker for Welcome, before it gives a stream up.</summary>
    public static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(15);

    /// <summary>
    /// Most bytes of one result. A greater one would be refused by the peer's message limit (4 MiB) for ever, and the worker would
    /// reconnect and resend it in a loop; so it is replaced by a failure that says so.
    /// </summary>
    public const int MaxResultBytes = 3 << 20;

    /// <summary>The refusal of a version that is not served, or null.</summary>
    /// <param name="worker">Version that the worker speaks.</param>
    /// <param name="workerRelease">Its release, for the message.</param>
    /// <param name="farmRelease">The coordinator's release, for the message.</param>
    internal static string? Misfit(uint worker, string workerRelease, string farmRelease) => worker switch
    {
        > Version => $"the worker ({workerRelease}) speaks link version {worker}, this farm ({farmRelease}) up to {Version}: upgrade the farm",
        < OldestServed => $"the worker ({workerRelease}) speaks link version {worker}, this farm ({farmRelease}) serves {OldestServed} to {Version}: upgrade the worker",
        _ => null,
    };
}

/// <summary>The farm does not take this link.</summary>
/// <param name="reason">Why, and what to do.</param>
internal sealed class LinkRefusedException(string reason) : Exception(reason);

/// <summary>The peer of a worker link sent something that makes no sense.</summary>
/// <param name="what">The field and what it should be.</param>
public sealed class LinkProtocolException(string what) : Exception($"worker link: {what}");
