using Grpc.Core;

namespace EdgeFarm.Server.Services;

/// <summary>Streams without end, which end with an answer when the coordinator stops: the server would wait for them in vain.</summary>
internal static class Watching
{
    /// <summary>Runs a watch until the client goes or the host stops; then the client learns that another coordinator serves it.</summary>
    public static async Task RunAsync(ServerCallContext context, IHostApplicationLifetime lifetime, Func<CancellationToken, Task> watch)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        try
        {
            await watch(ended.Token);
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
        {
            throw RpcErrors.Unavailable("this coordinator stops; watch again to be served by another");
        }
    }
}
