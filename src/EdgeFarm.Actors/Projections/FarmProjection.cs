using Akka.Actor;
using Akka.Hosting;

namespace EdgeFarm.Actors.Projections;

/// <summary>Keeps the read model. Its rows can always be made again: the journal is the truth.</summary>
/// <param name="projection">The projection.</param>
public sealed class FarmProjection(IRequiredActor<ProjectionKey> projection)
{
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(1);

    /// <summary>Empties the rows and starts a replay of every event; <see cref="IFarmQueries.CaughtUpAsync"/> tells when it is through.</summary>
    public async Task RebuildAsync(CancellationToken cancellationToken)
    {
        try
        {
            await (await projection.GetAsync(cancellationToken)).Ask<RebuildStarted>(new Rebuild(), Timeout, cancellationToken);
        }
        catch (AskTimeoutException)
        {
            throw new FarmUnavailableException($"the projection did not start again within {Timeout.TotalSeconds:0} s");
        }
    }
}
