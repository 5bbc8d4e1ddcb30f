using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains;

/// <summary>The engines that a job host can load, by id. Nothing of an engine is touched before it is asked for.</summary>
public sealed class EngineRegistry
{
    private readonly ImmutableSortedDictionary<string, Func<IToolchainEngine>> _factories;

    /// <summary>A registry of these engines; ids are compared exactly and must be unique.</summary>
    public EngineRegistry(params (string Id, Func<IToolchainEngine> Create)[] engines) =>
        _factories = engines.ToImmutableSortedDictionary(e => e.Id, e => e.Create, StringComparer.Ordinal);

    /// <summary>Ids in ordinal order.</summary>
    public IEnumerable<string> Ids => _factories.Keys;

    /// <summary>Makes the engine of an id. Unsupported when there is none.</summary>
    public Outcome<IToolchainEngine> Create(string id) =>
        _factories.TryGetValue(id, out var create)
            ? Outcome<IToolchainEngine>.Ok(create())
            : Failure.Unsupported($"there is no engine '{id}' in this build of the job host; it has {string.Join(", ", Ids)}");
}
