using EdgeFarm.Actors.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace EdgeFarm.Server.Hosting;

/// <summary>Whether this coordinator is Up in the cluster.</summary>
internal sealed class MembershipHealthCheck(FarmNode node) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(node.NotUp is { } reason ? HealthCheckResult.Unhealthy(reason) : HealthCheckResult.Healthy());
}

/// <summary>Whether the database answers.</summary>
internal sealed class DatabaseHealthCheck(FarmNode node) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        await node.ProbeDatabaseAsync(cancellationToken) is { } reason ? HealthCheckResult.Unhealthy(reason) : HealthCheckResult.Healthy();
}

/// <summary><c>/cluster</c>: the coordinators as one of them sees them, and what lives on it.</summary>
internal static class ClusterEndpoint
{
    public static void MapClusterEndpoint(this IEndpointRouteBuilder app) => app.MapGet("/cluster", (FarmNode node) => Results.Json(new
    {
        version = 1,
        self = node.Address,
        dispatcher = node.Activity.HasDispatcher,
        projection = node.Activity.HasProjection,
        sweeps = node.Activity.Sweeps,
        members = node.Members.Select(m => new { address = m.Address, status = m.Status, reachable = m.Reachable }),
    }));
}
