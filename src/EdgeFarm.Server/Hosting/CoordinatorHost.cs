using System.Net.Sockets;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Hosting.Settings;
using Microsoft.AspNetCore.Connections;

namespace EdgeFarm.Server.Hosting;

/// <summary>A coordinator in this process, by itself or with others.</summary>
public sealed class CoordinatorHost : IAsyncDisposable
{
    private readonly WebApplication _app;

    private CoordinatorHost(WebApplication app, ListenAddress grpc, ListenAddress http)
    {
        _app = app;
        Address = new Uri(grpc.Reachable().Url);
        HttpAddress = new Uri(http.Reachable().Url);
    }

    /// <summary>Where clients on this machine reach it.</summary>
    public Uri Address { get; }

    /// <summary>Where metrics and health are, for this machine.</summary>
    public Uri HttpAddress { get; }

    /// <summary>
    /// Cancelled when the coordinator stops, because it was asked to or because the others removed it: it was cut off from them, or was
    /// no part of a majority.
    /// </summary>
    public CancellationToken Stopping => _app.Lifetime.ApplicationStopping;

    /// <summary>What keeps the settings from being used: off loopback without TLS and tokens. Null when they are fine.</summary>
    public static Failure? CheckDoor(ListenAddress grpc, bool hasTls, bool hasTokens, bool insecure) =>
        insecure || grpc.IsLoopback || (hasTls && hasTokens)
            ? null
            : Failure.InvalidInput(
                $"{grpc.Url} is reached from other machines, so it needs {(hasTls ? "a token file (Tokens)" : hasTokens ? "TLS (Tls.Certificate, Tls.Key, and https:// in Listen)" : "TLS (Tls.Certificate, Tls.Key, and https:// in Listen) and a token file (Tokens)")}; --insecure does without, for a network that you trust");

    /// <summary>Starts one. Failures: the door, a port that is taken, a certificate, token file, store or database that cannot be used.</summary>
    /// <param name="settings">How it is to be.</param>
    /// <param name="data">Its data directory.</param>
    /// <param name="logLevel">Least level of log lines, which go to stderr.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    public static async Task<Outcome<CoordinatorHost>> StartAsync(
        CoordinatorSettings settings, DataDirectory data, LogLevel logLevel, CancellationToken cancellationToken)
    {
        if (CheckDoor(settings.Grpc, settings.Tls is not null, settings.Tokens.Length > 0, settings.Insecure) is { } closed)
        {
            return closed;
        }

        ServerCertificate? certificate = null;
        if (settings.Tls is { } tls)
        {
            var loaded = ServerCertificate.Load(tls.Certificate, tls.Key);
            if (!loaded.IsOk)
            {
                return loaded.Failure!;
            }

            certificate = loaded.Value;
        }

        var cluster = settings.Cluster;
        if (settings.ClusterAuthority.Length > 0)
        {
            var loaded = certificate!.ForPeers(settings.ClusterAuthority);
            if (!loaded.IsOk)
            {
                return loaded.Failure!;
            }

            cluster = cluster! with { Tls = loaded.Value };
        }

        TokenFile? tokens = null;
        if (settings.Tokens.Length > 0)
        {
            var loaded = TokenFile.Load(settings.Tokens);
            if (!loaded.IsOk)
            {
                return loaded.Failure!;
            }

            tokens = loaded.Value;
        }

        var store = DiskArtifactStore.Open(settings.Artifacts.Length > 0 ? settings.Artifacts : data.Artifacts, TimeProvider.System);
        if (!store.IsOk)
        {
            return store.Failure!;
        }

        WebApplication? app = null;
        try
        {
            var (grpc, http) = (settings.Grpc.TakePort(), settings.Http.TakePort());
            var builder = RoleHost.CreateBuilder(logLevel);
            builder.AddEdgeFarmCoordinator(new EdgeFarmCoordinatorOptions(settings.Database ?? FarmDatabaseOptions.SqliteFile(data.Database), store.Value, grpc, http)
            {
                Cluster = cluster,
                DeviceClasses = settings.DeviceClasses.IsEmpty ? DeviceClass.Defaults : settings.DeviceClasses,
                Certificate = certificate,
                Tokens = tokens,
                Otlp = settings.Otlp,
                StopTimeout = settings.Drain,
            });
            app = builder.Build();
            app.MapEdgeFarmCoordinator();
            await app.StartAsync(cancellationToken);
            return new CoordinatorHost(app, grpc, http);
        }
        catch (Exception e)
        {
            if (app is not null)
            {
                await app.DisposeAsync();
            }

            return e switch
            {
                SocketException or IOException { InnerException: SocketException or AddressInUseException } =>
                    Failure.InvalidInput($"cannot listen at {settings.Grpc.Url} and {settings.Http.Url}: {e.Message}; choose others with --listen and --http"),
                _ when Find<System.Data.Common.DbException>(e) is { } database =>
                    new Failure(FailureType.Internal, $"the database cannot be used: {database.Message}; check Database.ConnectionString and whether the server runs"),
                _ => new Failure(FailureType.Internal, $"the coordinator could not start: {(e.InnerException ?? e).Message}"),
            };
        }
    }

    /// <summary>Leaves the cluster in an orderly way: hands over sweeps and dispatcher. What it served links to another.</summary>
    public Task StopAsync() => _app.StopAsync(CancellationToken.None);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    private static T? Find<T>(Exception? e)
        where T : Exception
    {
        while (e is not null and not T)
        {
            e = e.InnerException;
        }

        return (T?)e;
    }
}
