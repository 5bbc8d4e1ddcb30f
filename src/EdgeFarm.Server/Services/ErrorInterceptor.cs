using EdgeFarm.Actors;
using EdgeFarm.Core.Jobs;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace EdgeFarm.Server.Services;

/// <summary>Turns what escapes a service into a status that a client can act on; what is no expected failure is logged.</summary>
internal sealed class ErrorInterceptor(ILogger<ErrorInterceptor> logger) : Interceptor
{
    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation) =>
        GuardAsync(context, () => continuation(request, context));

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation) =>
        GuardAsync(context, async () =>
        {
            await continuation(request, responseStream, context);
            return true;
        });

    public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation) =>
        GuardAsync(context, () => continuation(requestStream, context));

    private async Task<T> GuardAsync<T>(ServerCallContext context, Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (RpcException)
        {
            throw;
        }
        catch (FarmUnavailableException e)
        {
            throw RpcErrors.Unavailable(e.Message);
        }
        catch (FailureException e)
        {
            throw RpcErrors.From(e.Failure);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException && context.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "the client ended the call"));
        }
        catch (Exception e)
        {
            logger.LogError(e, "{Method} failed", context.Method);
            throw RpcErrors.Internal($"the farm failed to answer {context.Method}: {e.Message}; its log has more");
        }
    }
}
