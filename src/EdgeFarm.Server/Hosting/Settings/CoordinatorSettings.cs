using System.Collections;
using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting.Settings;

/// <summary>How a coordinator of the command line is, from its settings.</summary>
public sealed record CoordinatorSettings
{
    private const string DefaultListen = "http://127.0.0.1:5080";
    private const string DefaultHttp = "http://127.0.0.1:5081";
    private const int DefaultClusterPort = 5082;
    private const int DefaultDrainSeconds = 60;

    private CoordinatorSettings(ListenAddress grpc, ListenAddress http, string data) => (Grpc, Http, Data) = (grpc, http, data);

    /// <summary>Where gRPC listens.</summary>
    public ListenAddress Grpc { get; private init; }

    /// <summary>Where metrics and health listen.</summary>
    public ListenAddress Http { get; private init; }

    /// <summary>Directory of this coordinator alone.</summary>
    public string Data { get; private init; }

    /// <summary>PostgreSQL; null for a SQLite file in <see cref="Data"/>.</summary>
    public FarmDatabaseOptions? Database { get; private init; }

    /// <summary>Directory of the artifacts; empty for one in <see cref="Data"/>.</summary>
    public string Artifacts { get; private init; } = "";

    /// <summary>The other coordinators; null for a farm of one.</summary>
    public FarmClusterOptions? Cluster { get; private init; }

    /// <summary>File with the authority of the coordinators' certificates; empty without TLS between them.</summary>
    public string ClusterAuthority { get; private init; } = "";

    /// <summary>Certificate and key files; null without TLS.</summary>
    public (string Certificate, string Key)? Tls { get; private init; }

    /// <summary>Token file; empty without.</summary>
    public string Tokens { get; private init; } = "";

    /// <summary>Whether it may listen off loopback without TLS and tokens.</summary>
    public bool Insecure { get; private init; }

    /// <summary>Longest time for an orderly stop.</summary>
    public TimeSpan Drain { get; private init; }

    /// <summary>Device classes; empty for the built-in ones.</summary>
    public ImmutableArray<DeviceClass> DeviceClasses { get; private init; } = [];

    /// <summary>An OpenTelemetry collector, or null.</summary>
    public Uri? Otlp { get; private init; }

    /// <summary>Reads and checks them; every error names where the setting stands, and what is accepted.</summary>
    /// <param name="file">Settings file, or null.</param>
    /// <param name="environment">Environment variables.</param>
    /// <param name="listen">--listen, or null.</param>
    /// <param name="http">--http, or null.</param>
    /// <param name="data">--data, or null.</param>
    /// <param name="insecure">--insecure.</param>
    public static Outcome<CoordinatorSettings> Read(string? file, IDictionary environment, string? listen, string? http, string? data, bool insecure)
    {
        var read = SettingsReader.Read(
            SettingsSchema.Coordinator,
            file,
            environment,
            ("Listen", listen, "--listen"),
            ("Http", http, "--http"),
            ("Data", data, "--data"),
            ("Insecure", insecure ? "true" : null, "--insecure"));
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        var settings = read.Value;
        try
        {
            var result = new CoordinatorSettings(
                Address(settings, "Listen", DefaultListen), Address(settings, "Http", DefaultHttp), settings.Text("Data", Path.Combine(".edgefarm", "coordinator")))
            {
                Artifacts = settings.Text("Artifacts.Directory"),
                Tokens = settings.Text("Tokens"),
                Insecure = settings.Flag("Insecure"),
                Drain = TimeSpan.FromSeconds(settings.Number("DrainSeconds", DefaultDrainSeconds)),
                DeviceClasses =
                [
                    .. settings.Classes("DeviceClasses").Select(c => new DeviceClass(c.Name, [.. c.Require.Select(r => new Requirement(r.Property, r.Value))])),
                ],
                Otlp = settings.Address("Telemetry.Otlp"),
                Tls = ReadTls(settings),
                Cluster = ReadCluster(settings),
                ClusterAuthority = settings.Text("Cluster.Authority"),
                Database = ReadDatabase(settings),
            };
            return result.Check() is { } failure ? failure : result;
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    private Failure? Check()
    {
        if (Cluster is not null && Database is null)
        {
            return Failure.InvalidInput("Database.Provider: a cluster needs postgresql, because coordinators cannot share a SQLite file; leave Cluster.Seeds and Cluster.SeedName empty for a farm of one coordinator");
        }

        if (Cluster is not null && Artifacts.Length == 0)
        {
            return Failure.InvalidInput("Artifacts.Directory: a cluster needs a directory that all coordinators mount");
        }

        if (ClusterAuthority.Length > 0 && (Cluster is null || Tls is null))
        {
            return Failure.InvalidInput(Cluster is null
                ? "Cluster.Authority: this coordinator has no others to speak with; give Cluster.Seeds or Cluster.SeedName, or leave it empty"
                : "Cluster.Authority: TLS between coordinators needs Tls.Certificate and Tls.Key, which each shows to the others");
        }

        return Grpc.IsTls switch
        {
            true when Tls is null => Failure.InvalidInput($"Listen: {Grpc.Url} needs Tls.Certificate and Tls.Key"),
            false when Tls is not null => Failure.InvalidInput($"Listen: {Grpc.Url} is without TLS, but Tls.Certificate is set; write https://"),
            _ when Http.IsTls => Failure.InvalidInput($"Http: {Http.Url} must begin with http://; metrics and health are without TLS"),
            _ => null,
        };
    }

    private static FarmDatabaseOptions? ReadDatabase(SettingsReader settings)
    {
        var connection = settings.Text("Database.ConnectionString");
        if (settings.Text("Database.Provider", "sqlite") == "sqlite")
        {
            return connection.Length == 0
                ? null
                : throw new FailureException(Failure.InvalidInput("Database.ConnectionString: sqlite keeps its file in Data and takes no connection string; set Database.Provider to postgresql, or leave it out"));
        }

        if (connection.Length == 0)
        {
            throw new FailureException(Failure.InvalidInput("Database.ConnectionString: postgresql needs one, e.g. in EDGEFARM__DATABASE__CONNECTIONSTRING: Host=HOST;Username=USER;Password=SECRET;Database=NAME"));
        }

        try
        {
            _ = new Npgsql.NpgsqlConnectionStringBuilder(connection);
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            throw new FailureException(Failure.InvalidInput($"Database.ConnectionString: {e.Message}"));
        }

        return FarmDatabaseOptions.PostgreSql(connection);
    }

    private static (string, string)? ReadTls(SettingsReader settings) => (settings.Text("Tls.Certificate"), settings.Text("Tls.Key")) switch
    {
        ("", "") => null,
        ("", _) => throw new FailureException(Failure.InvalidInput("Tls.Certificate: a PEM file is needed beside Tls.Key")),
        (_, "") => throw new FailureException(Failure.InvalidInput("Tls.Key: a PEM file is needed beside Tls.Certificate")),
        var (certificate, key) => (certificate, key),
    };

    private static FarmClusterOptions? ReadCluster(SettingsReader settings)
    {
        var seeds = settings.List("Cluster.Seeds").Select(s => Peer("Cluster.Seeds", s)).ToImmutableArray();
        var name = settings.Text("Cluster.SeedName") is { Length: > 0 } text ? Peer("Cluster.SeedName", text) : ((string, int)?)null;
        if (seeds.IsEmpty && name is null)
        {
            return null;
        }

        if (!seeds.IsEmpty && name is not null)
        {
            throw new FailureException(Failure.InvalidInput("Cluster.SeedName: give Cluster.Seeds or Cluster.SeedName, not both"));
        }

        var host = settings.Text("Cluster.Host", name is null ? Environment.MachineName.ToLowerInvariant() : OwnAddress());
        var minimum = settings.Number("Cluster.MinimumPeers", 0);
        var options = new FarmClusterOptions(host, settings.Number("Cluster.Port", name?.Item2 ?? DefaultClusterPort))
        {
            Seeds = seeds,
            SeedName = name,
            MinimumPeers = minimum > 0 ? minimum : name is null ? (seeds.Length / 2) + 1 : 2,
        };
        if (!seeds.IsEmpty && options.MinimumPeers > seeds.Length)
        {
            throw new FailureException(Failure.InvalidInput($"Cluster.MinimumPeers: {minimum} is more than the {seeds.Length} of Cluster.Seeds"));
        }

        return !seeds.IsEmpty && !seeds.Contains((options.Host, options.Port))
            ? throw new FailureException(Failure.InvalidInput(
                $"Cluster.Seeds: must name this coordinator too, as {options.Host}:{options.Port} (Cluster.Host and Cluster.Port); it names {string.Join(", ", seeds.Select(s => $"{s.Host}:{s.Port}"))}"))
            : options;
    }

    private static (string Host, int Port) Peer(string setting, string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0
            && int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && port is > 0 and <= 65535
            && Uri.CheckHostName(text[..colon]) is UriHostNameType.Dns or UriHostNameType.IPv4
                ? (text[..colon], port)
                : throw Wrong(setting, text, "host:port");
    }

    /// <summary>The address under which a machine with one network is known in DNS.</summary>
    private static string OwnAddress() => NetworkInterface.GetAllNetworkInterfaces()
        .Where(i => i is { OperationalStatus: OperationalStatus.Up, NetworkInterfaceType: not NetworkInterfaceType.Loopback })
        .SelectMany(i => i.GetIPProperties().UnicastAddresses.Select(a => a.Address))
        .FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(a))?.ToString()
        ?? throw new FailureException(Failure.InvalidInput("Cluster.Host: this machine has no IPv4 address but loopback; name the address under which the others reach it"));

    private static ListenAddress Address(SettingsReader settings, string setting, string otherwise)
    {
        var address = ListenAddress.Parse(settings.Text(setting, otherwise));
        return address.IsOk ? address.Value : throw new FailureException(Failure.InvalidInput($"{setting}: {address.Failure!.Message}"));
    }

    private static FailureException Wrong(string setting, string value, string accepted) =>
        new(Failure.InvalidInput($"{setting}: must be {accepted}, not '{value}'"));
}
