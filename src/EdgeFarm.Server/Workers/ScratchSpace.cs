using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Workers;

/// <summary>The directory of one attempt: what a child reads, writes and leaves behind; gone when disposed.</summary>
internal sealed class ScratchSpace : IDisposable
{
    private readonly string _root;

    private ScratchSpace(string root) => _root = root;

    /// <summary>Where the engine writes its outputs.</summary>
    public string Output => Path.Combine(_root, "out");

    /// <summary>Working directory and temporary files of the child.</summary>
    public string Work => Path.Combine(_root, "work");

    /// <summary>Where the log is put before it is stored.</summary>
    public string Log => Path.Combine(_root, "log.txt");

    /// <summary>Bytes that can still be written here.</summary>
    public long FreeBytes => new DriveInfo(_root).AvailableFreeSpace;

    /// <summary>Makes a fresh one.</summary>
    public static ScratchSpace Create(string directory)
    {
        Directory.CreateDirectory(directory);
        var space = new ScratchSpace(Path.Combine(directory, Guid.NewGuid().ToString("N")));
        Directory.CreateDirectory(space.Output);
        Directory.CreateDirectory(space.Work);
        return space;
    }

    /// <summary>Removes what attempts of an earlier life of the worker left.</summary>
    public static void Clean(string directory)
    {
        if (Directory.Exists(directory))
        {
            foreach (var left in Directory.EnumerateDirectories(directory))
            {
                Remove(left);
            }
        }
    }

    /// <summary>Where an input is laid out: under its own name, in a directory of the input's, so that two inputs of one name do not meet.</summary>
    public string InputPath(string input, ArtifactRef artifact)
    {
        // Both come over the network; neither may lead out of the directory.
        if (!IsPlainName(input))
        {
            throw new FailureException(new Failure(FailureType.Internal, $"an input is called '{input}', which is no name"));
        }

        var directory = Path.Combine(_root, "in", input);
        Directory.CreateDirectory(directory);
        return Path.Combine(directory, IsPlainName(artifact.FileName) ? artifact.FileName : "input");
    }

    /// <summary>Where an output that an engine named is; null when the name is no plain name.</summary>
    public string? OutputPath(string fileName) => IsPlainName(fileName) ? Path.Combine(Output, fileName) : null;

    public void Dispose() => Remove(_root);

    private static bool IsPlainName(string name) =>
        name.Length is > 0 and <= 200 && name is not ("." or "..") && name.AsSpan().IndexOfAny("/\\:\0") < 0 && !name.Any(char.IsControl);

    private static void Remove(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A process that left the group may still write; the next start of the worker removes the rest.
        }
    }
}
