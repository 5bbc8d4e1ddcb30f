using EdgeFarm.Cli.Client;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Local;

/// <summary>
/// Where a local verb writes: a path that appears complete or not at all. Work goes on in a hidden directory beside it, on the same
/// disk, which is gone when this is disposed of.
/// </summary>
internal sealed class LocalOutput : IDisposable
{
    private LocalOutput(string target) =>
        (Target, Scratch) = (target, Directory.CreateDirectory(Path.Combine(Path.GetDirectoryName(target)!, $".edgefarm-{Guid.NewGuid():N}")).FullName);

    /// <summary>Absolute path of the output.</summary>
    public string Target { get; }

    /// <summary>An empty directory.</summary>
    public string Scratch { get; }

    /// <summary>
    /// Takes a path for the output. <see cref="BadInputException"/> when its directory is missing, when it is a directory, or when it is one
    /// of the inputs or a file inside one. A file that is there is replaced at the end, as llama-quantize and other converters do.
    /// </summary>
    public static LocalOutput Open(string path, IEnumerable<LocalInput> inputs)
    {
        var target = Path.GetFullPath(path);
        var parent = Path.GetDirectoryName(target);
        if (parent is null || Path.EndsInDirectorySeparator(path) || Directory.Exists(target))
        {
            throw new BadInputException($"-o '{path}' is a directory; name the file to write");
        }

        if (!Directory.Exists(parent))
        {
            throw new BadInputException($"-o '{path}': there is no directory '{parent}'; make it first, or choose another path");
        }

        var real = Resolve(target);
        foreach (var input in inputs)
        {
            var source = Resolve(input.Path);
            if (real == source || (File.Exists(real) && real.StartsWith(source + Path.DirectorySeparatorChar, StringComparison.Ordinal)))
            {
                throw new BadInputException($"-o '{path}' is the input itself or a file of it; choose another path");
            }
        }

        try
        {
            return new LocalOutput(target);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"-o '{path}': nothing can be written in '{parent}': {e.Message}");
        }
    }

    /// <summary>Gives what was made its name; an input that is the output already is copied.</summary>
    public void Place(LocalResult made)
    {
        var from = made.Path;
        try
        {
            if (made.IsInput)
            {
                from = Path.Combine(Scratch, "copy");
                Copy(made.Path, from);
            }

            if (Directory.Exists(from))
            {
                File.Delete(Target);
                Directory.Move(from, Target);
                return;
            }

            // Whoever sees the name after a power cut sees the content.
            using (var stream = new FileStream(from, FileMode.Open, FileAccess.ReadWrite))
            {
                stream.Flush(flushToDisk: true);
            }

            File.Move(from, Target, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"'{Target}' cannot be written: {e.Message}"));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            Directory.Delete(Scratch, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A killed child may still be closing its files; what is left is hidden and named after this program.
        }
    }

    private static void Copy(string from, string to)
    {
        if (Directory.Exists(from))
        {
            Directory.CreateDirectory(to);
            foreach (var file in Directory.EnumerateFiles(from))
            {
                Copy(file, Path.Combine(to, Path.GetFileName(file)));
            }

            return;
        }

        // Not File.Copy, which hands on that a source is read-only.
        using var source = File.OpenRead(from);
        using var target = new FileStream(to, FileMode.CreateNew);
        source.CopyTo(target);
    }

    private static string Resolve(string path) =>
        (File.Exists(path) ? new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName
            : Directory.Exists(path) ? new DirectoryInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName : null) ?? path;
}
