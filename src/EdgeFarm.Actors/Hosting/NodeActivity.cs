using System.Collections.Concurrent;

namespace EdgeFarm.Actors.Hosting;

/// <summary>What lives in this process of the farm, for people and health endpoints. Safe for concurrent use.</summary>
public sealed class NodeActivity
{
    private readonly ConcurrentDictionary<string, int> _sweeps = new(StringComparer.Ordinal);
    private volatile bool _hasDispatcher;
    private volatile bool _hasProjection;

    /// <summary>Whether the dispatcher is here.</summary>
    public bool HasDispatcher
    {
        get => _hasDispatcher;
        internal set => _hasDispatcher = value;
    }

    /// <summary>Whether the projection is here.</summary>
    public bool HasProjection
    {
        get => _hasProjection;
        internal set => _hasProjection = value;
    }

    /// <summary>Ids of the sweeps whose actors are here, in order.</summary>
    public IReadOnlyList<string> Sweeps => [.. _sweeps.Keys.Order(StringComparer.Ordinal)];

    // Counted, because a sweep's next actor may start before its last one has stopped.
    internal void SweepStarted(string id) => _sweeps.AddOrUpdate(id, 1, (_, n) => n + 1);

    internal void SweepStopped(string id)
    {
        if (_sweeps.AddOrUpdate(id, 0, (_, n) => n - 1) <= 0)
        {
            _sweeps.TryRemove(new KeyValuePair<string, int>(id, 0));
        }
    }
}
