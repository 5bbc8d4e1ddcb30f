using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Akka.Actor;
using Akka.Cluster;
using Akka.Configuration;
using Akka.Event;

namespace EdgeFarm.Actors.Hosting;

/// <summary>How a coordinator finds and talks to the others.</summary>
/// <param name="Host">Name or address under which the others reach it; it listens there.</param>
/// <param name="Port">Port of its actor system.</param>
public sealed record FarmClusterOptions(string Host, int Port)
{
    /// <summary>Coordinators as host and port; the first one makes the cluster when none exists. Empty with a <see cref="SeedName"/>.</summary>
    public ImmutableArray<(string Host, int Port)> Seeds { get; init; } = [];

    /// <summary>A DNS name that stands for the addresses of all coordinators, and their port; null with <see cref="Seeds"/>.</summary>
    public (string Host, int Port)? SeedName { get; init; }

    /// <summary>
    /// So many coordinators, this one included, must listen before it joins. A majority of all, so that one which starts while it is
    /// cut off from the others does not make a cluster of its own.
    /// </summary>
    public int MinimumPeers { get; init; } = 1;

    /// <summary>TLS between coordinators; null without, for a port that only they can reach.</summary>
    public FarmClusterTls? Tls { get; init; }
}

/// <summary>Akka.Cluster as a farm uses it, and how a coordinator joins.</summary>
internal static class FarmCluster
{
    /// <summary>Name of the actor system; part of every address.</summary>
    public const string SystemName = "edgefarm";

    private static readonly TimeSpan AskInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan SettleFor = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan TellInterval = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Membership and transport. A dead coordinator is unreachable after about 4 s and removed after about 8; a part of the cluster
    /// that is no majority shuts itself down. A submission with its plan, or a batch of 1,000 queued jobs, is one message of a few MiB.
    /// </summary>
    public static Config Config(FarmClusterOptions options) => ConfigurationFactory.ParseString(
        $$"""
        akka.actor.provider = cluster
        akka.remote.dot-netty.tcp {
          hostname = "{{options.Host}}"
          port = {{options.Port}}
          enable-ssl = {{(options.Tls is null ? "off" : "on")}}
          maximum-frame-size = 32 MiB
          send-buffer-size = 1 MiB
          receive-buffer-size = 1 MiB
        }
        akka.remote.log-remote-lifecycle-events = off
        akka.cluster {
          log-info = on

          # How long after a coordinator's removal its sweeps and singletons start elsewhere, for one that is cut off and ends itself at about
          # the same time. Fences and the journal's numbers bar what lives on longer.
          down-removal-margin = 1s
          downing-provider-class = "Akka.Cluster.SBR.SplitBrainResolverProvider, Akka.Cluster"
          split-brain-resolver {
            active-strategy = keep-majority
            stable-after = 3s
          }
          failure-detector {
            heartbeat-interval = 500ms
            acceptable-heartbeat-pause = 3s
          }
          run-coordinated-shutdown-when-down = on
          shutdown-after-unsuccessful-join-seed-nodes = off
          singleton-proxy {
            singleton-identification-interval = 500ms
            buffer-size = 10000
          }
          sharding {
            state-store-mode = ddata
            remember-entities = off
            retry-interval = 1s
            distributed-data.durable.keys = []
          }
        }
        akka.coordinated-shutdown.exit-clr = off
        """);

    /// <summary>
    /// Waits until enough coordinators listen and the set of them has settled, then joins. Goes on for ever: a coordinator without
    /// peers is of no use, and they may come later.
    /// </summary>
    public static async Task JoinAsync(ActorSystem system, FarmClusterOptions options, ILoggingAdapter log, CancellationToken cancellationToken)
    {
        var settled = ImmutableArray<(string Host, int Port)>.Empty;
        DateTimeOffset? since = null;
        var told = DateTimeOffset.MinValue;
        while (!cancellationToken.IsCancellationRequested)
        {
            var listening = await FindAsync(options, cancellationToken);
            var now = DateTimeOffset.UtcNow;
            if (listening.Length < options.MinimumPeers)
            {
                since = null;
                if (now - told > TellInterval)
                {
                    told = now;
                    log.Warning(
                        "waiting for coordinators: {0} of at least {1} listen ({2})",
                        listening.Length,
                        options.MinimumPeers,
                        string.Join(", ", listening.Select(p => $"{p.Host}:{p.Port}")));
                }
            }
            else if (since is null || !settled.SequenceEqual(listening))
            {
                (settled, since) = (listening, now);
            }

            // A list says who makes a cluster; of a name's addresses the lowest does, so the set must be the same for all.
            if (since is { } at && (options.SeedName is null || now - at >= SettleFor))
            {
                var seeds = options.SeedName is null ? options.Seeds : listening;
                log.Info("joining the cluster of {0}", string.Join(", ", seeds.Select(p => $"{p.Host}:{p.Port}")));
                var cluster = Cluster.Get(system);

                // With TLS the protocol has another name.
                var self = cluster.SelfAddress;
                await cluster.JoinSeedNodesAsync(seeds.Select(s => self.WithHost(s.Host).WithPort(s.Port)), cancellationToken);
                return;
            }

            await Task.Delay(AskInterval, cancellationToken);
        }
    }

    private static async Task<ImmutableArray<(string Host, int Port)>> FindAsync(FarmClusterOptions options, CancellationToken cancellationToken)
    {
        IEnumerable<(string Host, int Port)> candidates = options.Seeds;
        if (options.SeedName is { } name)
        {
            try
            {
                var addresses = await Dns.GetHostAddressesAsync(name.Host, AddressFamily.InterNetwork, cancellationToken);
                candidates = addresses.Select(a => (a.ToString(), name.Port)).OrderBy(a => a.Item1, StringComparer.Ordinal);
            }
            catch (SocketException)
            {
                return [];
            }
        }

        var listen = await Task.WhenAll(candidates.Distinct().Select(async c => (Peer: c, Listens: await ListensAsync(c, cancellationToken))));
        return [.. listen.Where(l => l.Listens).Select(l => l.Peer)];
    }

    private static async Task<bool> ListensAsync((string Host, int Port) peer, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(ConnectTimeout);
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(peer.Host, peer.Port, limit.Token);
            return true;
        }
        catch (Exception e) when (e is SocketException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return false;
        }
    }
}
