using System.Collections.Immutable;

namespace EdgeFarm.Server.Hosting.Settings;

/// <summary>What a setting's value is.</summary>
internal enum SettingKind
{
    /// <summary>A text.</summary>
    Text,

    /// <summary>A whole number within bounds.</summary>
    Number,

    /// <summary>true or false.</summary>
    Flag,

    /// <summary>A list of texts.</summary>
    List,

    /// <summary>Names with texts.</summary>
    Map,

    /// <summary>Names with a map of conditions each; only in files.</summary>
    Classes,
}

/// <summary>One setting.</summary>
/// <param name="Path">Its name, with dots between levels, e.g. <c>Cluster.Port</c>.</param>
/// <param name="Kind">What its value is.</param>
/// <param name="Description">One line for the docs.</param>
internal sealed record Setting(string Path, SettingKind Kind, string Description)
{
    /// <summary>Least number.</summary>
    public long Minimum { get; init; }

    /// <summary>Greatest number.</summary>
    public long Maximum { get; init; } = int.MaxValue;

    /// <summary>The only texts that are accepted; empty for any.</summary>
    public ImmutableArray<string> Choices { get; init; } = [];

    /// <summary>What is accepted, for messages.</summary>
    public string Accepted => Kind switch
    {
        SettingKind.Text when !Choices.IsEmpty => "one of " + string.Join(", ", Choices),
        SettingKind.Text => "a text",
        SettingKind.Number => $"a whole number from {Minimum} to {Maximum}",
        SettingKind.Flag => "true or false",
        SettingKind.List => "a list of texts, e.g. [\"a\", \"b\"]",
        SettingKind.Map => "an object of texts, e.g. {\"team\": \"red\"}",
        _ => "an object of classes, e.g. {\"cuda\": {\"require\": {\"gpu.vendor\": \"nvidia\"}}}",
    };

    /// <summary>The environment variable that sets it.</summary>
    public string Variable => SettingsReader.VariablePrefix + Path.Replace(".", "__", StringComparison.Ordinal).ToUpperInvariant();
}

/// <summary>Every setting of the two roles: the parser and the docs come from here.</summary>
internal static class SettingsSchema
{
    private const int MaxPort = 65535;
    private const int MaxSeconds = 7 * 24 * 3600;

    /// <summary>Settings of <c>edgefarm coordinator</c>.</summary>
    public static readonly ImmutableArray<Setting> Coordinator =
    [
        new("Listen", SettingKind.Text, "where gRPC listens: http://HOST:PORT, or https:// with Tls"),
        new("Http", SettingKind.Text, "where /metrics, /health/live, /health/ready and /cluster listen (HTTP/1.1): http://HOST:PORT"),
        new("Data", SettingKind.Text, "directory of this coordinator alone"),
        new("Database.Provider", SettingKind.Text, "sqlite for one coordinator, postgresql for any number") { Choices = ["sqlite", "postgresql"] },
        new("Database.ConnectionString", SettingKind.Text, "of PostgreSQL, as Npgsql reads it; better in the environment than in a file"),
        new("Artifacts.Directory", SettingKind.Text, "directory of all artifacts, which all coordinators mount"),
        new("Cluster.Host", SettingKind.Text, "name or address under which the other coordinators reach this one; empty takes the machine's name, or its address with SeedName"),
        new("Cluster.Port", SettingKind.Number, "port for the other coordinators") { Minimum = 1, Maximum = MaxPort },
        new("Cluster.Seeds", SettingKind.List, "all coordinators as host:port; the first makes the cluster when none exists. Empty, and no SeedName: a farm of one coordinator"),
        new("Cluster.SeedName", SettingKind.Text, "instead of Seeds: name:port, where the name stands in DNS for the addresses of all coordinators"),
        new("Cluster.MinimumPeers", SettingKind.Number, "so many coordinators, this one included, must listen before it joins; 0 takes a majority of Seeds, or 2 with SeedName") { Maximum = 100 },
        new("Cluster.Authority", SettingKind.Text, "PEM file with the authority of the coordinators' certificates (Tls): with it they speak TLS with each other and take only those that show one for the same name; empty: without TLS"),
        new("Tls.Certificate", SettingKind.Text, "PEM file with the certificate and those between it and its authority"),
        new("Tls.Key", SettingKind.Text, "PEM file with its key"),
        new("Tokens", SettingKind.Text, "file with a line 'ROLE TOKEN' for each token; roles: viewer, submitter, worker, admin"),
        new("Insecure", SettingKind.Flag, "listen off loopback without TLS and tokens"),
        new("DrainSeconds", SettingKind.Number, "longest time for calls and hand-over when it is asked to stop") { Minimum = 1, Maximum = MaxSeconds },
        new("DeviceClasses", SettingKind.Classes, "device classes, most specific first, with the properties that each requires; none: the built-in ones"),
        new("Telemetry.Otlp", SettingKind.Text, "URL of an OpenTelemetry collector (OTLP over gRPC) for metrics and traces; empty takes OTEL_EXPORTER_OTLP_ENDPOINT, else none"),
    ];

    /// <summary>Settings of <c>edgefarm worker</c>.</summary>
    public static readonly ImmutableArray<Setting> Worker =
    [
        new("Farm", SettingKind.List, "addresses of coordinators, tried in turn"),
        new("Name", SettingKind.Text, "name of the worker, unique in the farm; empty takes the machine's"),
        new("Labels", SettingKind.Map, "labels that sweeps can require as label.KEY"),
        new("Slots", SettingKind.Number, "jobs at once, other than benchmarks") { Minimum = 1, Maximum = 256 },
        new("Data", SettingKind.Text, "directory of this worker alone: artifacts, results not yet acknowledged, scratch space"),
        new("Token", SettingKind.Text, "file with its token"),
        new("Ca", SettingKind.Text, "PEM file with certificate authorities to trust beside the system's"),
        new("Http", SettingKind.Text, "where /health/live and /health/ready listen (HTTP/1.1): http://HOST:PORT; empty for nowhere"),
        new("DrainSeconds", SettingKind.Number, "how long running jobs may go on when it is asked to stop; then they are handed back") { Maximum = MaxSeconds },
        new("OnlyWhatFits", SettingKind.Flag, "take only jobs whose time limit is within DrainSeconds, so that a stop never breaks one off"),
        new("DeviceClass", SettingKind.Text, "class of its deployment; it becomes the label device-class"),
        new("ExecutionProviders", SettingKind.Map, "plug-in execution providers of ONNX Runtime: a name, and the file of its library; they add to those of EDGEFARM_ONNX_EP"),
        new("Telemetry.Otlp", SettingKind.Text, "URL of an OpenTelemetry collector (OTLP over gRPC) for traces; empty takes OTEL_EXPORTER_OTLP_ENDPOINT, else none"),
    ];
}
