using EdgeFarm.Core.Artifacts;

namespace EdgeFarm.Actors.Persistence;

/// <summary>Which sweep a request id made, so that a client may submit again after a lost answer.</summary>
/// <param name="database">The farm's database.</param>
/// <param name="time">The clock.</param>
internal sealed class RequestIds(FarmDatabase database, TimeProvider time)
{
    /// <summary>
    /// Claims a request id for a sweep. Returns the sweep and content that hold it: the given ones for a new id, else those of the
    /// first claim, whose sweep may not have started if the farm died in between.
    /// </summary>
    public async Task<(string Sweep, Digest Content)> ClaimAsync(string requestId, Digest content, string sweep, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenAsync(cancellationToken);
        await connection.Command(
            """
            insert into farm_requests (request_id, content_digest, sweep, created_at) values (@id, @content, @sweep, @created)
            on conflict (request_id) do nothing
            """,
            ("id", requestId),
            ("content", content.Hex),
            ("sweep", sweep),
            ("created", time.GetUtcNow().UnixMilliseconds())).RunAsync(null, cancellationToken);
        var rows = await connection.Command("select sweep, content_digest from farm_requests where request_id = @id", ("id", requestId))
            .ReadAsync(r => (r.GetString(0), Digest.TryParse(r.GetString(1), out var digest) ? digest : default), cancellationToken);
        return rows[0];
    }
}
