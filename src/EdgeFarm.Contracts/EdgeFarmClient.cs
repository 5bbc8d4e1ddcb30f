using System.Runtime.CompilerServices;
using EdgeFarm.Contracts.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace EdgeFarm.Contracts;

/// <summary>A typed client of a farm. Safe for concurrent use; one connection serves all calls.</summary>
public sealed class EdgeFarmClient : IDisposable
{
    /// <summary>Environment variable that names the farm when no address is given.</summary>
    public const string UrlVariable = "EDGEFARM_URL";

    /// <summary>Where a farm listens when nobody said otherwise.</summary>
    public const string DefaultUrl = "http://127.0.0.1:5080";

    private readonly GrpcChannel _channel;

    /// <summary>Makes a client of the farm at an address; nothing is connected before the first call.</summary>
    /// <param name="address">E.g. <c>http://127.0.0.1:5080</c>.</param>
    public EdgeFarmClient(Uri address)
        : this(address, FarmAccess.None)
    {
    }

    /// <summary>The same with what a farm off this machine asks for.</summary>
    /// <param name="address">E.g. <c>https://farm.example:5080</c>.</param>
    /// <param name="access">Token and certificate authorities.</param>
    /// <param name="keepAlive">See <see cref="CreateChannel"/>.</param>
    public EdgeFarmClient(Uri address, FarmAccess access, TimeSpan? keepAlive = null)
    {
        Address = address;
        _channel = CreateChannel(address, access, keepAlive);
        Sweeps = new Sweeps.SweepsClient(_channel);
        Jobs = new Jobs.JobsClient(_channel);
        Leaderboard = new Leaderboard.LeaderboardClient(_channel);
        Fleet = new Fleet.FleetClient(_channel);
        Artifacts = new Artifacts.ArtifactsClient(_channel);
    }

    /// <summary>The farm's address.</summary>
    public Uri Address { get; }

    /// <summary>Submit, get, list, cancel, retry, watch.</summary>
    public Sweeps.SweepsClient Sweeps { get; }

    /// <summary>Get, list, log, explain.</summary>
    public Jobs.JobsClient Jobs { get; }

    /// <summary>Query, get, history, watch.</summary>
    public Leaderboard.LeaderboardClient Leaderboard { get; }

    /// <summary>List and watch workers.</summary>
    public Fleet.FleetClient Fleet { get; }

    /// <summary>Stat, upload, download.</summary>
    public Artifacts.ArtifactsClient Artifacts { get; }

    /// <summary>The address to use: the one given, else that of <see cref="UrlVariable"/>, else <see cref="DefaultUrl"/>; null when it is no URL.</summary>
    public static Uri? ResolveAddress(string? given)
    {
        var variable = Environment.GetEnvironmentVariable(UrlVariable);
        var text = !string.IsNullOrEmpty(given) ? given : !string.IsNullOrEmpty(variable) ? variable : DefaultUrl;
        return Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" ? uri : null;
    }

    /// <summary>A channel as the farm's clients and workers use it. The caller disposes it.</summary>
    /// <param name="address">The farm.</param>
    /// <param name="access">Token and certificate authorities.</param>
    /// <param name="keepAlive">
    /// How often the connection is pinged while a call runs, and how long an answer may take; 20 s when null. A watch can be silent for
    /// hours; without pings a peer that vanished would never be noticed.
    /// </param>
    public static GrpcChannel CreateChannel(Uri address, FarmAccess access, TimeSpan? keepAlive = null)
    {
        var ping = keepAlive ?? TimeSpan.FromSeconds(20);
        var sockets = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(5),
            KeepAlivePingDelay = ping,
            KeepAlivePingTimeout = ping,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            EnableMultipleHttp2Connections = true,
        };
        return GrpcChannel.ForAddress(address, new GrpcChannelOptions { DisposeHttpClient = true, HttpHandler = access.Apply(sockets) });
    }

    /// <summary>Awaits a call; what gRPC throws becomes a <see cref="FarmCallException"/>.</summary>
    public async Task<T> AwaitAsync<T>(AsyncUnaryCall<T> call)
    {
        using (call)
        {
            try
            {
                return await call;
            }
            catch (RpcException e)
            {
                throw FarmCallException.From(e, Address);
            }
        }
    }

    /// <summary>Reads a stream of answers; what gRPC throws becomes a <see cref="FarmCallException"/>.</summary>
    public async IAsyncEnumerable<T> ReadAsync<T>(AsyncServerStreamingCall<T> call, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using (call)
        {
            while (true)
            {
                try
                {
                    if (!await call.ResponseStream.MoveNext(cancellationToken))
                    {
                        yield break;
                    }
                }
                catch (RpcException e)
                {
                    throw FarmCallException.From(e, Address);
                }

                yield return call.ResponseStream.Current;
            }
        }
    }

    /// <summary>Closes the connection; running calls end.</summary>
    public void Dispose() => _channel.Dispose();
}
