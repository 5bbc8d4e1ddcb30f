using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster;
using EdgeFarm.Actors.Persistence;

namespace EdgeFarm.Actors.Hosting;

/// <summary>A coordinator of the cluster, as this one sees it.</summary>
/// <param name="Address">Host and port of its actor system.</param>
/// <param name="Status">Akka's word: Joining, Up, Leaving, Exiting, Down, ...</param>
/// <param name="Reachable">Whether its heartbeats arrive.</param>
public sealed record FarmMember(string Address, string Status, bool Reachable);

/// <summary>This coordinator: whether it can work, and what it does.</summary>
/// <param name="system">The actor system.</param>
/// <param name="options">How the coordinator is.</param>
/// <param name="database">The farm's database.</param>
/// <param name="activity">What lives here.</param>
public sealed class FarmNode(ActorSystem system, FarmCoordinatorOptions options, FarmDatabase database, NodeActivity activity)
{
    private static readonly TimeSpan DatabaseTimeout = TimeSpan.FromSeconds(5);

    /// <summary>What lives here.</summary>
    public NodeActivity Activity { get; } = activity;

    /// <summary>This coordinator's address; empty for a farm of one process.</summary>
    public string Address => options.Cluster is { } cluster ? $"{cluster.Host}:{cluster.Port}" : "";

    /// <summary>The coordinators; empty for a farm of one process.</summary>
    public ImmutableArray<FarmMember> Members
    {
        get
        {
            if (options.Cluster is null)
            {
                return [];
            }

            var state = Cluster.Get(system).State;
            return
            [
                .. state.Members.OrderBy(m => m.Address.ToString(), StringComparer.Ordinal)
                    .Select(m => new FarmMember($"{m.Address.Host}:{m.Address.Port}", m.Status.ToString(), !state.Unreachable.Contains(m))),
            ];
        }
    }

    /// <summary>Why this coordinator is no working part of the farm now; null when it is.</summary>
    public string? NotUp
    {
        get
        {
            if (options.Cluster is null)
            {
                return null;
            }

            var status = Cluster.Get(system).SelfMember.Status;
            return status switch
            {
                MemberStatus.Up => null,

                // What Akka says of a system that has not joined anything.
                MemberStatus.Removed => "this coordinator has not joined the others",
                _ => $"this coordinator is {status} in the cluster, not Up",
            };
        }
    }

    /// <summary>Why the database cannot be used; null when it answers.</summary>
    public async Task<string?> ProbeDatabaseAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(DatabaseTimeout);
        try
        {
            await using var connection = await database.OpenAsync(limit.Token);
            await connection.RunAsync("select 1", limit.Token);
            return null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return $"the database did not answer within {DatabaseTimeout.TotalSeconds:0} s";
        }
        catch (Exception e) when (e is System.Data.Common.DbException or System.Net.Sockets.SocketException or IOException or InvalidOperationException or TimeoutException)
        {
            return $"the database cannot be used: {e.Message}";
        }
    }
}
