using System.Collections.Immutable;
using System.Net.Sockets;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Event;
using EdgeFarm.Contracts;
using Grpc.Core;
using Grpc.Net.Client;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Workers;

/// <summary>A stream to a coordinator is open for the worker's Hello.</summary>
internal sealed record LinkReady(string Link, Uri Coordinator, ChannelWriter<Link.WorkerMessage> Out) : INoSerializationVerificationNeeded;

/// <summary>One message of a coordinator.</summary>
internal sealed record FromCoordinator(string Link, Link.CoordinatorMessage Message) : INoSerializationVerificationNeeded;

/// <summary>A stream ended.</summary>
internal sealed record LinkBroken(string Link) : INoSerializationVerificationNeeded;

/// <summary>
/// Keeps one stream open to any of the farm's coordinators: tries them in turn, waits longer after each round that failed, and
/// tells the worker's actor of every stream that opens, speaks and ends.
/// </summary>
internal sealed class WorkerLinkClient(
    ImmutableArray<Uri> farm, Func<Uri, GrpcChannel> open, IActorRef worker, TimeProvider time, ILoggingAdapter log)
{
    private static readonly TimeSpan SteadyLink = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(5);

    // A misfit lasts until someone upgrades: asking more often helps nobody.
    private static readonly TimeSpan MisfitDelay = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    /// <summary>A channel as the link needs it: HTTP/2 pings find a dead peer long before the stream's own are missed.</summary>
    public static GrpcChannel OpenChannel(Uri url) => EdgeFarmClient.CreateChannel(url, FarmAccess.None, LinkProtocol.KeepAliveInterval);

    /// <summary>Runs until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var failures = 0;
        for (var next = 0; !cancellationToken.IsCancellationRequested; next = (next + 1) % farm.Length)
        {
            var url = farm[next];
            var delay = TimeSpan.FromTicks(Math.Min(LongestDelay.Ticks, FirstDelay.Ticks << Math.Min(failures, 10)));
            var started = time.GetTimestamp();
            try
            {
                // A channel keeps trying where nobody listens, while another coordinator would answer at once.
                await ProbeAsync(url, cancellationToken);
                using var channel = open(url);

                // A link that ends at once is no success: two workers of one name would otherwise drive each other out without a pause.
                failures = await ServeAsync(url, channel, cancellationToken) && time.GetElapsedTime(started) >= SteadyLink ? 0 : failures + 1;
            }
            catch (RpcException e) when (IsRefusal(e))
            {
                log.Error("{0} refused this worker: {1}", url, e.Status.Detail);

                // A name may be free soon: that of a worker that died is known as such after a while.
                (failures, delay) = (failures + 1, e.StatusCode == StatusCode.AlreadyExists ? LongestDelay : MisfitDelay);
            }
            catch (Exception e)
            {
                failures++;
                if (!cancellationToken.IsCancellationRequested)
                {
                    log.Info("no link to {0}: {1}", url, e is RpcException rpc ? rpc.Status.Detail : e.Message);
                }
            }

            if (failures > 0)
            {
                await Task.Delay(delay, time, cancellationToken).ContinueWith(_ => { }, TaskScheduler.Default);
            }
        }
    }

    private static bool IsRefusal(Exception e) =>
        e is RpcException { StatusCode: StatusCode.FailedPrecondition or StatusCode.AlreadyExists or StatusCode.Unauthenticated or StatusCode.PermissionDenied };

    private static async Task ProbeAsync(Uri url, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(ProbeTimeout);
        using var probe = new TcpClient();
        try
        {
            await probe.ConnectAsync(url.IdnHost, url.Port, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"it did not answer within {ProbeTimeout.TotalSeconds:0} s");
        }
    }

    /// <summary>One stream from start to end; true when it was accepted.</summary>
    private async Task<bool> ServeAsync(Uri url, GrpcChannel channel, CancellationToken cancellationToken)
    {
        using var connecting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        connecting.CancelAfter(ConnectTimeout);
        await channel.ConnectAsync(connecting.Token);

        using var alive = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var call = new Link.WorkerLink.WorkerLinkClient(channel).Open(cancellationToken: alive.Token);
        var id = Guid.NewGuid().ToString("N");
        var outgoing = Channel.CreateUnbounded<Link.WorkerMessage>(new UnboundedChannelOptions { SingleReader = true });
        worker.Tell(new LinkReady(id, url, outgoing.Writer), ActorRefs.NoSender);
        var writing = WriteAsync(outgoing.Reader, call.RequestStream, alive.Token);
        var accepted = false;
        try
        {
            alive.CancelAfter(LinkProtocol.HelloTimeout);
            while (await call.ResponseStream.MoveNext(alive.Token))
            {
                alive.CancelAfter(LinkProtocol.SilenceLimit);
                accepted = true;
                worker.Tell(new FromCoordinator(id, call.ResponseStream.Current), ActorRefs.NoSender);
            }

            return accepted;
        }
        catch (Exception e) when (accepted && e is RpcException or IOException or OperationCanceledException && !IsRefusal(e))
        {
            log.Info("the link broke: {0}", e.Message);
            return true;
        }
        finally
        {
            worker.Tell(new LinkBroken(id), ActorRefs.NoSender);
            outgoing.Writer.TryComplete();
            await alive.CancelAsync();
            await writing;
        }
    }

    private static async Task WriteAsync(
        ChannelReader<Link.WorkerMessage> outgoing, IClientStreamWriter<Link.WorkerMessage> stream, CancellationToken cancellationToken)
    {
        try
        {
            var hinted = new WriteOptions(WriteFlags.BufferHint);
            while (await outgoing.WaitToReadAsync(cancellationToken))
            {
                Link.WorkerMessage? credit = null;
                while (outgoing.TryRead(out var message))
                {
                    if (message.Credit is not null)
                    {
                        // Credit is absolute: of several in a row of messages the last one says it all.
                        credit = message;
                        continue;
                    }

                    stream.WriteOptions = credit is not null || outgoing.TryPeek(out _) ? hinted : WriteOptions.Default;
                    await stream.WriteAsync(message, cancellationToken);
                }

                if (credit is not null)
                {
                    stream.WriteOptions = WriteOptions.Default;
                    await stream.WriteAsync(credit, cancellationToken);
                }
            }

            await stream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or IOException or OperationCanceledException or InvalidOperationException)
        {
            // The reading side sees how the stream ended.
        }
    }
}
