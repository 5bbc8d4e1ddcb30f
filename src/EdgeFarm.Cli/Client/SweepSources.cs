using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Artifacts.Local;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Server;
using File = System.IO.File;
using LocalSweepFile = EdgeFarm.Server.SweepFiles.SweepFile;
using WireKind = EdgeFarm.Contracts.V1.ArtifactKind;

namespace EdgeFarm.Cli.Client;

/// <summary>A sweep file that is ready to be submitted: read, checked, its local sources hashed.</summary>
internal sealed class SweepSources
{
    private const int MaxEntries = 1000;

    private readonly List<(string Id, LocalArtifact Artifact, SourceFile Wire)> _files;
    private readonly List<(string Id, string Source)> _published;
    private readonly Dictionary<string, SourceFile> _fetched = new(StringComparer.Ordinal);

    private SweepSources(string yaml, List<(string Id, LocalArtifact Artifact, SourceFile Wire)> files, List<(string Id, string Source)> published) =>
        (Yaml, _files, _published) = (yaml, files, published);

    /// <summary>The file's text.</summary>
    public string Yaml { get; }

    /// <summary>Reads and checks a sweep file (<c>-</c> reads stdin) and hashes what its <c>file:</c> sources name.</summary>
    public static async Task<SweepSources> ReadAsync(string path, CancellationToken cancellationToken)
    {
        var yaml = path == "-" ? await Console.In.ReadToEndAsync(cancellationToken) : await ReadFileAsync(path, cancellationToken);
        var file = LocalSweepFile.Parse(yaml, BuiltInToolchains.Catalog);
        if (file.Spec is not { } spec)
        {
            throw new BadInputException([.. file.Errors.Select(e => new InputError(path, e))]);
        }

        var folder = path == "-" ? Environment.CurrentDirectory : Path.GetDirectoryName(Path.GetFullPath(path))!;
        var files = new List<(string, LocalArtifact, SourceFile)>();
        var errors = new List<InputError>();
        var sources = spec.Models.Select((m, i) => (m.Id, m.Source, Field: $"spec.models[{i}].source"))
            .Concat(spec.Data.Select((d, i) => (d.Id, d.Source, Field: $"spec.data[{i}].source")));
        foreach (var (id, source, field) in sources.Where(s => s.Source.StartsWith("file:", StringComparison.Ordinal)))
        {
            var local = Path.GetFullPath(source["file:".Length..], folder);
            var hashed = await LocalArtifact.HashAsync(local, cancellationToken);
            if (hashed.IsOk)
            {
                files.Add((id, hashed.Value, ToWire(local, hashed.Value.Artifact.Digest, hashed.Value.Artifact.Kind, hashed.Value.Artifact.Size)));
            }
            else
            {
                errors.Add(new InputError(path, file.ErrorAt(field, hashed.Failure!.Message)));
            }
        }

        var published = spec.Models.Where(m => HubSource.IsMeant(m.Source)).Select(m => (m.Id, m.Source)).ToList();
        return errors.Count == 0 ? new SweepSources(yaml, files, published) : throw new BadInputException(errors);
    }

    /// <summary>The request that submits it.</summary>
    public SubmitRequest ToRequest(string? id, bool fresh)
    {
        // With an id of the user's own a repeated command is a repeated request; without one every command is a sweep of its own.
        var request = new SubmitRequest { RequestId = id is null ? Guid.NewGuid().ToString("N") : $"id:{id}", Yaml = Yaml, Id = id ?? "", Fresh = fresh };
        foreach (var (source, _, wire) in _files)
        {
            request.Sources[source] = wire;
        }

        foreach (var (source, wire) in _fetched)
        {
            request.Sources[source] = wire;
        }

        return request;
    }

    /// <summary>Has the farm fetch what its models of the Hub are, with progress here; before <see cref="ToRequest"/>.</summary>
    public async Task FetchAsync(EdgeFarmClient farm, Terminal terminal, CancellationToken cancellationToken)
    {
        foreach (var (id, source) in _published)
        {
            var last = await Local.LocalProgress.ShowAsync(terminal, async progress =>
            {
                FetchProgress? latest = null;
                var call = farm.Artifacts.Fetch(new FetchRequest { Source = source }, cancellationToken: cancellationToken);
                await foreach (var step in farm.ReadAsync(call, cancellationToken))
                {
                    latest = step;
                    progress.Report(new Local.LocalStep(
                        1, 1, source, step.Total > 0 ? Math.Clamp((double)step.Done / step.Total, 0, 1) : 0, $"{step.File}, {Output.Figures.Bytes(step.Done)} of {Output.Figures.Bytes(step.Total)}"));
                }

                return latest;
            });
            if (last?.Artifact is not { } artifact)
            {
                throw new BadInputException($"{id}: the farm fetched {source} and did not say what it is");
            }

            terminal.Error.WriteLine($"{id}: {source} is commit {last.Revision}, {Output.Figures.Bytes(artifact.Size)}");
            _fetched[id] = new SourceFile { Digest = artifact.Digest, Kind = artifact.Kind, Size = artifact.Size, FileName = artifact.FileName, Revision = last.Revision };
        }
    }

    /// <summary>Uploads what the farm lacks.</summary>
    public async Task UploadAsync(EdgeFarmClient farm, Terminal terminal, CancellationToken cancellationToken)
    {
        foreach (var (id, artifact, wire) in _files)
        {
            var (digest, kind) = (artifact.Artifact.Digest, artifact.Artifact.Kind);
            var held = await farm.AwaitAsync(
                farm.Artifacts.StatAsync(new StatRequest { Digest = wire.Digest, Kind = wire.Kind }, cancellationToken: cancellationToken));
            if (held.Complete)
            {
                continue;
            }

            terminal.Error.WriteLine($"uploading {id}: {wire.FileName}, {Output.Figures.Bytes(wire.Size)}");
            await FarmFiles.PushAsync(farm, artifact, digest, kind, cancellationToken);
        }
    }

    private static async Task<string> ReadFileAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            // Twice what the parser takes is enough to let it say so.
            return new FileInfo(path).Length <= 1024 * 1024
                ? await File.ReadAllTextAsync(path, cancellationToken)
                : throw new BadInputException($"'{path}' is too large for a sweep file");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"cannot read '{path}': {(e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file" : e.Message)}");
        }
    }

    private static SourceFile ToWire(string path, Digest digest, Core.Artifacts.ArtifactKind kind, long size)
    {
        var wire = new SourceFile { Digest = digest.ToString(), Kind = (WireKind)kind, Size = size, FileName = Path.GetFileName(Path.TrimEndingDirectorySeparator(path)) };
        if (kind is Core.Artifacts.ArtifactKind.Tree)
        {
            wire.Entries.Add(Directory.EnumerateFiles(path).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal).Take(MaxEntries));
        }

        return wire;
    }
}
