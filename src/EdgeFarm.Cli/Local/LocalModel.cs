using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Local;

/// <summary>A model that a local verb reads: the user's own, or one of the Hub that was fetched into this user's cache.</summary>
internal sealed class LocalModel : IDisposable
{
    /// <summary>Environment variable that names the directory for what is fetched.</summary>
    public const string CacheVariable = "EDGEFARM_CACHE";

    private readonly string? _laidOut;

    private LocalModel(LocalInput input, string? laidOut) => (Input, _laidOut) = (input, laidOut);

    /// <summary>What it is and where.</summary>
    public LocalInput Input { get; }

    /// <summary>The directory for what is fetched: <c>EDGEFARM_CACHE</c>, else the system's place for caches of this user.</summary>
    public static string CacheDirectory =>
        Environment.GetEnvironmentVariable(CacheVariable) is { Length: > 0 } given ? Path.GetFullPath(given)
        : OperatingSystem.IsLinux() && Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? Path.Combine(xdg, "edgefarm")
        : OperatingSystem.IsLinux() ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "edgefarm")
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "EdgeFarm", "cache");

    /// <summary>Opens a path, or fetches <c>hf:ORG/NAME[@REVISION]</c>.</summary>
    public static async Task<LocalModel> OpenAsync(string text, Terminal terminal, CancellationToken cancellation)
    {
        // A file of that name is meant as such.
        if (!HubSource.IsMeant(text) || Path.Exists(text))
        {
            return new LocalModel(LocalInput.Open(text), null);
        }

        if (!HubSource.TryParse(text, out var source))
        {
            throw new BadInputException($"'{text}' is no model of the Hub; write hf:ORG/NAME or hf:ORG/NAME@REVISION");
        }

        var options = Check(HubOptions.FromEnvironment());
        var store = Check(DiskArtifactStore.Open(Path.Combine(CacheDirectory, "hub"), TimeProvider.System));
        using var client = new HubClient(options);
        var fetched = Check(await LocalProgress.ShowAsync(terminal, progress => new HubDownload(client, store).FetchAsync(source, new Relay(source, progress), cancellation)));
        terminal.Error.WriteLine($"{source} is commit {fetched.Commit}, {Figures.Bytes(fetched.Stored.Size)}");

        // Links into the cache, on its disk; the name of the directory is what a converter names the model after.
        var folder = Directory.CreateDirectory(Path.Combine(CacheDirectory, "models", Guid.NewGuid().ToString("N"))).FullName;
        var path = Path.Combine(folder, fetched.FileName);
        Check(await store.MaterializeAsync(fetched.Stored.Digest, path, MaterializeMode.Link, cancellation));
        return new LocalModel(LocalInput.Open(path), folder);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_laidOut is not null)
        {
            Directory.Delete(_laidOut, recursive: true);
        }
    }

    private static T Check<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new FailureException(outcome.Failure!);

    private sealed class Relay(HubSource source, IProgress<LocalStep> progress) : IProgress<HubProgress>
    {
        public void Report(HubProgress value) => progress.Report(new LocalStep(
            1, 1, source.ToString(), value.Total > 0 ? Math.Clamp((double)value.Done / value.Total, 0, 1) : 0, $"{value.File}, {Figures.Bytes(value.Done)} of {Figures.Bytes(value.Total)}"));
    }
}
