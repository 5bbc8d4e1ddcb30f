using System.Reflection;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Hosting;
using Grpc.Core;
using Link = EdgeFarm.Contracts.Link.V1;
using Status = Grpc.Core.Status;

namespace EdgeFarm.Actors.Workers;

/// <summary>
/// The gRPC side of the worker link: refuses what does not fit, else pumps between the stream and the link's actor.
/// </summary>
/// <param name="links">Parent of the links.</param>
/// <param name="lifetime">The host: when it stops, streams end, because the server would otherwise wait for them in vain.</param>
public sealed class WorkerLinkService(IRequiredActor<WorkerLinksKey> links, IHostApplicationLifetime lifetime) : Link.WorkerLink.WorkerLinkBase
{
    /// <summary>Version of this build, as Welcome and refusals tell it.</summary>
    internal static readonly string Release =
        typeof(WorkerLinkService).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <inheritdoc/>
    public override async Task Open(
        IAsyncStreamReader<Link.WorkerMessage> requestStream, IServerStreamWriter<Link.CoordinatorMessage> responseStream, ServerCallContext context)
    {
        var hello = await ReadHelloAsync(requestStream, context.CancellationToken);
        var id = $"link-{Guid.NewGuid():N}";
        var outgoing = Channel.CreateUnbounded<Link.CoordinatorMessage>(new UnboundedChannelOptions { SingleReader = true });
        outgoing.Writer.TryWrite(new Link.CoordinatorMessage
        {
            Welcome = new Link.Welcome { ProtocolVersion = LinkProtocol.Version, Release = Release, Link = id },
        });
        var link = await OpenAsync(new OpenLink(id, hello, outgoing.Writer), context.CancellationToken);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        var reading = ReadAsync(requestStream, link, ended.Token);
        try
        {
            await WriteAsync(outgoing.Reader, responseStream, ended.Token);
        }
        catch (LinkRefusedException e)
        {
            throw new RpcException(new Status(StatusCode.AlreadyExists, e.Message));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException or RpcException)
        {
            // The worker is gone; its leases are kept a while for it to come back.
        }
        finally
        {
            link.Tell(LinkEnded.Instance, ActorRefs.NoSender);
            await ended.CancelAsync();
            await reading;
        }
    }

    private static async Task<Link.Hello> ReadHelloAsync(IAsyncStreamReader<Link.WorkerMessage> stream, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(LinkProtocol.HelloTimeout);
        try
        {
            if (!await stream.MoveNext(timeout.Token) || stream.Current.Hello is not { } hello)
            {
                throw new RpcException(new Status(StatusCode.InvalidArgument, "the first message of a worker link is Hello"));
            }

            if (LinkProtocol.Misfit(hello.ProtocolVersion, hello.Release, Release) is { } misfit)
            {
                throw new RpcException(new Status(StatusCode.FailedPrecondition, misfit));
            }

            // Read once here, so that nonsense is refused with a status instead of a closed stream.
            LinkMapping.Capability(hello);
            LinkMapping.Held(hello);
            return hello;
        }
        catch (LinkProtocolException e)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, e.Message));
        }
        catch (OperationCanceledException)
        {
            throw new RpcException(new Status(StatusCode.DeadlineExceeded, $"no Hello within {LinkProtocol.HelloTimeout.TotalSeconds:0} s"));
        }
    }

    private async Task<IActorRef> OpenAsync(OpenLink open, CancellationToken cancellationToken)
    {
        try
        {
            return (await links.ActorRef.Ask<LinkOpened>(open, LinkProtocol.HelloTimeout, cancellationToken)).Link;
        }
        catch (AskTimeoutException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the farm starts or stops; try again"));
        }
    }

    private static async Task ReadAsync(IAsyncStreamReader<Link.WorkerMessage> stream, IActorRef link, CancellationToken cancellationToken)
    {
        try
        {
            while (await stream.MoveNext(cancellationToken))
            {
                link.Tell(new FromWorker(stream.Current), ActorRefs.NoSender);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException or RpcException)
        {
            // As above: the stream broke.
        }

        link.Tell(LinkEnded.Instance, ActorRefs.NoSender);
    }

    private static async Task WriteAsync(
        ChannelReader<Link.CoordinatorMessage> outgoing, IServerStreamWriter<Link.CoordinatorMessage> stream, CancellationToken cancellationToken)
    {
        var hinted = new WriteOptions(WriteFlags.BufferHint);
        while (await outgoing.WaitToReadAsync(cancellationToken))
        {
            while (outgoing.TryRead(out var message))
            {
                // While more is queued the bytes may wait for it: one flush for a burst of leases.
                stream.WriteOptions = outgoing.TryPeek(out _) ? hinted : WriteOptions.Default;
                await stream.WriteAsync(message, cancellationToken);
            }
        }
    }
}
