using System.Collections.Immutable;
using Akka.Actor;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Sweeps;

/// <summary>
/// The numbered changes of one sweep and who watches them. The last ones are kept, so that a client that comes back soon goes on
/// where it was.
/// </summary>
internal sealed class ChangeFeed
{
    /// <summary>Most jobs in one change, so that its message stays below 1 MiB.</summary>
    public const int MaxJobs = 500;

    private const int KeptChanges = 256;
    private const int KeptJobs = 5000;
    private static readonly TimeSpan KeptFor = TimeSpan.FromMinutes(1);

    private readonly TimeProvider _time;
    private readonly Queue<SweepChange> _recent = new();
    private readonly HashSet<IActorRef> _watchers = [];
    private DateTimeOffset _watchedUntil = DateTimeOffset.MinValue;
    private int _recentJobs;
    private long _sequence;

    /// <param name="time">
    /// The clock. Numbers go on from the time at which the sweep's actor starts, so that a number of an earlier life is never taken
    /// for one of this.
    /// </param>
    public ChangeFeed(TimeProvider time) => (_time, _sequence) = (time, time.GetUtcNow().ToUnixTimeMilliseconds() << 10);

    public bool HasWatchers => _watchers.Count > 0;

    public void Remove(IActorRef watcher)
    {
        if (_watchers.Remove(watcher))
        {
            _watchedUntil = _time.GetUtcNow();
        }
    }

    /// <summary>Adds a watcher: it gets what it missed if that is still known, else everything, the first part as a snapshot.</summary>
    public void Add(IActorRef watcher, long? after, SweepState state, IActorRef self)
    {
        _watchers.Add(watcher);
        if (after is { } known && known <= _sequence && _sequence - known <= _recent.Count)
        {
            // An empty change when nothing was missed: it tells the watcher that it is heard, and whether the sweep has ended.
            foreach (var change in _recent.Where(c => c.Sequence > known).DefaultIfEmpty(Make([], state, isSnapshot: false)))
            {
                watcher.Tell(new SweepChanged(change), self);
            }

            return;
        }

        var parts = state.JobIds.Chunk(MaxJobs).ToList();
        for (var i = 0; i < parts.Count; i++)
        {
            // Only the last part has the number to resume from.
            var part = Make(parts[i], state, isSnapshot: i == 0);
            watcher.Tell(new SweepChanged(i == parts.Count - 1 ? part : part with { Sequence = 0 }), self);
        }
    }

    /// <summary>Some jobs, or all when none are named, in one message.</summary>
    public SweepChange Snapshot(ImmutableArray<string> jobs, SweepState state) => Make(jobs.IsEmpty ? state.JobIds : jobs, state, isSnapshot: true);

    /// <summary>Tells every watcher what changed.</summary>
    public void Publish(IEnumerable<string> jobs, SweepState state, IActorRef self)
    {
        if (!HasWatchers && _time.GetUtcNow() - _watchedUntil > KeptFor)
        {
            // Nobody is there to see it, and nobody left so lately that he may resume: views of a large sweep cost too much for that.
            _sequence++;
            _recent.Clear();
            _recentJobs = 0;
            return;
        }

        foreach (var ids in jobs.Chunk(MaxJobs).DefaultIfEmpty([]))
        {
            _sequence++;
            var change = Make(ids, state, isSnapshot: false);
            _recent.Enqueue(change);
            _recentJobs += change.Jobs.Length;
            while (_recent.Count > KeptChanges || _recentJobs > KeptJobs)
            {
                _recentJobs -= _recent.Dequeue().Jobs.Length;
            }

            foreach (var watcher in _watchers)
            {
                watcher.Tell(new SweepChanged(change), self);
            }
        }
    }

    private SweepChange Make(IEnumerable<string> jobs, SweepState state, bool isSnapshot) =>
        new(_sequence, state.View(), [.. jobs.Select(state.View).OfType<JobView>()], isSnapshot);
}
