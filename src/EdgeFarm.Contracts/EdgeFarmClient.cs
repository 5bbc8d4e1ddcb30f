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
    {
        Address = address;
        _channel = CreateChannel(address);
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
    public static GrpcChannel CreateChannel(Uri address) => GrpcChannel.ForAddress(address, new GrpcChannelOptions
    {
        DisposeHttpClient = true,
        HttpHandler = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(10),

            // A watch can be silent for hours; without pings a peer that vanished would never be noticed.
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            EnableMultipleHttp2Connections = true,
        },
    });

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
