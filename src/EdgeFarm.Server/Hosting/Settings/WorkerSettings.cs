using System.Collections;
using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting.Settings;

/// <summary>How a worker of the command line is, from its settings.</summary>
public sealed record WorkerSettings
{
    private const int DefaultDrainSeconds = 300;

    private WorkerSettings(ImmutableArray<Uri> farm, string name, string data) => (Farm, Name, Data) = (farm, name, data);

    /// <summary>Coordinators, tried in turn.</summary>
    public ImmutableArray<Uri> Farm { get; private init; }

    /// <summary>Name, unique in the farm.</summary>
    public string Name { get; private init; }

    /// <summary>Directory of this worker alone.</summary>
    public string Data { get; private init; }

    /// <summary>Labels.</summary>
    public ImmutableSortedDictionary<string, string> Labels { get; private init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Shared jobs at once.</summary>
    public int Slots { get; private init; } = 1;

    /// <summary>Token file, or null.</summary>
    public string? Token { get; private init; }

    /// <summary>File with certificate authorities, or null.</summary>
    public string? Ca { get; private init; }

    /// <summary>Where health listens, or null.</summary>
    public ListenAddress? Http { get; private init; }

    /// <summary>How long running jobs may go on when it is asked to stop.</summary>
    public TimeSpan Drain { get; private init; }

    /// <summary>Whether it takes only jobs that end within <see cref="Drain"/>.</summary>
    public bool OnlyWhatFits { get; private init; }

    /// <summary>Libraries of plug-in execution providers of ONNX Runtime, by name.</summary>
    public ImmutableSortedDictionary<string, string> ExecutionProviders { get; private init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>An OpenTelemetry collector, or null.</summary>
    public Uri? Otlp { get; private init; }

    /// <summary>Reads and checks them; every error names where the setting stands, and what is accepted.</summary>
    /// <param name="file">Settings file, or null.</param>
    /// <param name="environment">Environment variables.</param>
    /// <param name="defaultFarm">Address of the farm when no setting names one.</param>
    /// <param name="options">Setting, value and name of each option of the command line; a null value was not given.</param>
    /// <param name="labels">Labels of the command line; they add to those of the settings.</param>
    public static Outcome<WorkerSettings> Read(
        string? file,
        IDictionary environment,
        string defaultFarm,
        ReadOnlySpan<(string Setting, string? Value, string Option)> options,
        IReadOnlyDictionary<string, string> labels)
    {
        var read = SettingsReader.Read(SettingsSchema.Worker, file, environment, options);
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        var settings = read.Value;
        var farm = ImmutableArray.CreateBuilder<Uri>();
        var given = settings.List("Farm");
        foreach (var text in given.IsEmpty ? [defaultFarm] : given)
        {
            if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            {
                return Failure.InvalidInput($"Farm: '{text}' is no address of a coordinator; use http://HOST:PORT or https://HOST:PORT, several with commas between them");
            }

            farm.Add(uri);
        }

        ListenAddress? http = null;
        if (settings.Text("Http") is { Length: > 0 } listen)
        {
            var parsed = ListenAddress.Parse(listen);
            if (!parsed.IsOk || parsed.Value.IsTls)
            {
                return Failure.InvalidInput($"Http: {parsed.Failure?.Message ?? "must begin with http://; health is without TLS"}");
            }

            http = parsed.Value;
        }

        Uri? otlp;
        try
        {
            otlp = settings.Address("Telemetry.Otlp");
        }
        catch (FailureException e)
        {
            return e.Failure;
        }

        var all = settings.Map("Labels").SetItems(labels);
        if (settings.Text("DeviceClass") is { Length: > 0 } deviceClass)
        {
            all = all.SetItem("device-class", deviceClass);
        }

        // The engine reads them from one line.
        var providers = settings.Map("ExecutionProviders");
        if (providers.FirstOrDefault(p => p.Key.Contains('=', StringComparison.Ordinal) || p.Value.Length == 0 || (p.Key + p.Value).Contains(';', StringComparison.Ordinal)) is { Key: { } wrong })
        {
            return Failure.InvalidInput($"ExecutionProviders: '{wrong}' must be a name without '=' and ';', with the file of a library without ';'");
        }

        return new WorkerSettings(
            farm.ToImmutable(), settings.Text("Name", Environment.MachineName.ToLowerInvariant()), settings.Text("Data", Path.Combine(".edgefarm", "worker")))
        {
            Labels = all,
            Slots = settings.Number("Slots", 1),
            Token = settings.Text("Token") is { Length: > 0 } token ? token : null,
            Ca = settings.Text("Ca") is { Length: > 0 } ca ? ca : null,
            Http = http,
            Drain = TimeSpan.FromSeconds(settings.Number("DrainSeconds", DefaultDrainSeconds)),
            OnlyWhatFits = settings.Flag("OnlyWhatFits"),
            ExecutionProviders = providers,
            Otlp = otlp,
        };
    }
}
