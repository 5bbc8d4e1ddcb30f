namespace EdgeFarm.Server.Hosting;

/// <summary>
/// A host that stops when its owner says so. The default one stops at SIGTERM by itself, so that its owner could not tell an orderly
/// stop from one that the cluster asked for.
/// </summary>
internal sealed class OwnedLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
