namespace EdgeFarm.Actors.Persistence;

/// <summary>Numbers that only grow, over all restarts and all coordinators.</summary>
/// <param name="database">The farm's database.</param>
internal sealed class Counters(FarmDatabase database)
{
    /// <summary>Leases that one dispatcher's life can give: its fences are those of its epoch.</summary>
    private const int EpochBits = 36;

    /// <summary>Begins an epoch of the dispatcher and returns its first fence, greater than every fence given before.</summary>
    public async Task<long> NextFenceEpochAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenAsync(cancellationToken);
        var epochs = await connection.Command(
            """
            insert into farm_counters (name, value) values ('fence-epoch', 1)
            on conflict (name) do update set value = farm_counters.value + 1 returning value
            """).ReadAsync(r => r.GetInt64(0), cancellationToken);
        return epochs[0] << EpochBits;
    }
}
