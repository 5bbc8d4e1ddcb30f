using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>Finds the files of a llama.cpp build.</summary>
internal sealed partial record LlamaLibraryFiles(string Directory, string Llama, string Ggml, string GgmlBase, bool Packaged)
{
    /// <summary>The environment variable that names a build of the user's own: its directory or its libllama file.</summary>
    public const string Variable = "EDGEFARM_LLAMA_LIB";

    /// <summary>The folder of the packaged libraries below the program's own.</summary>
    public static string PackagedDirectory => Path.Combine(AppContext.BaseDirectory, "natives", "llama.cpp", Rid);

    private static string Rid =>
        (OperatingSystem.IsLinux() ? "linux" : OperatingSystem.IsMacOS() ? "osx" : "win") + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    /// <summary>The build that <paramref name="path"/>, else the environment, else the package gives. Unsupported when there is none.</summary>
    public static LlamaLibraryFiles Locate(string? path)
    {
        var wanted = path ?? Environment.GetEnvironmentVariable(Variable);
        if (!string.IsNullOrEmpty(wanted))
        {
            return File.Exists(wanted)
                ? In(Path.GetDirectoryName(Path.GetFullPath(wanted))!, Path.GetFullPath(wanted), packaged: false)
                : In(Path.GetFullPath(wanted), null, packaged: false);
        }

        return System.IO.Directory.Exists(PackagedDirectory)
            ? In(PackagedDirectory, null, packaged: true)
            : throw new FailureException(Failure.Unsupported(
                $"this build of EdgeFarm brings no llama.cpp for {Rid}: linux-x64, linux-arm64, osx-arm64 and win-x64 have it when they are built with npm; {Variable} can name a directory with a build of llama.cpp {string.Join(" or ", LlamaAbi.Known.Select(abi => abi.Version))} of your own"));
    }

    private static LlamaLibraryFiles In(string directory, string? llama, bool packaged)
    {
        var names = System.IO.Directory.Exists(directory)
            ? System.IO.Directory.EnumerateFiles(directory).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal).ToList()
            : [];
        string Find(Regex pattern, string what) => names.Where(name => pattern.IsMatch(name)).MinBy(name => name.Length) is { } found
            ? Path.Combine(directory, found)
            : throw new FailureException(Failure.Unsupported($"{directory} holds no {what} library; {Variable} must name a directory with libllama, libggml, libggml-base and the ggml backends, or the libllama file in it"));

        return new LlamaLibraryFiles(directory, llama ?? Find(LlamaName(), "llama"), Find(GgmlName(), "ggml"), Find(GgmlBaseName(), "ggml-base"), packaged);
    }

    /// <summary>
    /// The ggml backends of the build, the best variant of each: those that compute on the processor when <paramref name="accelerators"/> is
    /// false, the others when it is true. A packaged build has an accelerator's backend in a folder of its own beside it. The RPC backend is
    /// never among them: it would let a model file's reader talk to the network.
    /// </summary>
    /// <param name="accelerators">Which kind.</param>
    /// <param name="problems">Gets the backends whose libraries are there and cannot be loaded.</param>
    public IReadOnlyList<LlamaBackendFile> Backends(bool accelerators, List<LlamaBackendProblem> problems) =>
    [
        .. BackendFolders()
            .SelectMany(System.IO.Directory.EnumerateFiles)
            .Select(file => (File: file, Match: BackendName().Match(Path.GetFileName(file))))
            .Where(entry => entry.Match.Success && entry.Match.Groups["backend"].Value is not ("base" or "rpc"))
            .GroupBy(entry => entry.Match.Groups["backend"].Value, StringComparer.Ordinal)
            .Where(backend => IsProcessor(backend.Key) != accelerators)
            .OrderBy(backend => backend.Key == "cpu").ThenBy(backend => backend.Key, StringComparer.Ordinal)
            .Select(backend => Best(backend.Key, [.. backend.Select(entry => (entry.File, entry.Match.Groups["variant"].Value))], problems))
            .OfType<LlamaBackendFile>(),
    ];

    // BLAS works beside the CPU backend.
    private static bool IsProcessor(string backend) => backend is "cpu" or "blas";

    private IEnumerable<string> BackendFolders() => !Packaged ? [Directory]
        : [Directory, .. System.IO.Directory.EnumerateDirectories(Path.GetDirectoryName(Directory)!, $"{Path.GetFileName(Directory)}-*").Order(StringComparer.Ordinal)];

    private static unsafe LlamaBackendFile? Best(string backend, IReadOnlyList<(string File, string Variant)> candidates, List<LlamaBackendProblem> problems)
    {
        LlamaBackendFile? best = null;
        var bestScore = 0;
        foreach (var (file, variant) in candidates.OrderBy(candidate => candidate.File, StringComparer.Ordinal))
        {
            nint handle;
            try
            {
                handle = NativeLibrary.Load(file);
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                problems.Add(new LlamaBackendProblem(backend, Reason(e.Message, file)));
                continue;
            }

            // A score of zero says that this processor cannot run the variant; a build with one variant has no scores.
            var score = NativeLibrary.TryGetExport(handle, "ggml_backend_score", out var function)
                ? ((delegate* unmanaged[Cdecl]<int>)function)()
                : variant.Length == 0 ? 1 : 0;
            NativeLibrary.Free(handle);
            if (score > bestScore)
            {
                (best, bestScore) = (new LlamaBackendFile(backend, variant.Length == 0 ? "generic" : variant, file), score);
            }
        }

        return best;
    }

    // .NET tells how to look for the reason first, then what the loader said of each path that it tried.
    internal static string Reason(string message, string file)
    {
        var lines = message.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return lines.FirstOrDefault(line => line.Contains("cannot open shared object file", StringComparison.Ordinal) && !line.StartsWith(file, StringComparison.Ordinal)) ?? lines[0];
    }

    /// <summary>SHA-256 over the digests of the three libraries, which are what decides results beside the CPU variant.</summary>
    public Digest ComputeDigest()
    {
        var lines = new StringBuilder();
        foreach (var file in (string[])[Llama, Ggml, GgmlBase])
        {
            using var stream = File.OpenRead(file);
            lines.Append(Convert.ToHexStringLower(SHA256.HashData(stream))).Append('\n');
        }

        return Digest.OfText(lines.ToString());
    }

    // Packages put a version into the name, GPU packages the backend's name too: libllama.v0.5.0.so, libllama.vulkan.v0.5.0.so.
    [GeneratedRegex(@"^(lib)?llama(\.[\w.]+)?\.(so|dylib|dll)(\.\d+)*$")]
    private static partial Regex LlamaName();

    [GeneratedRegex(@"^(lib)?ggml(\.[\w.]+)?\.(so|dylib|dll)(\.\d+)*$")]
    private static partial Regex GgmlName();

    [GeneratedRegex(@"^(lib)?ggml-base(\.[\w.]+)?\.(so|dylib|dll)(\.\d+)*$")]
    private static partial Regex GgmlBaseName();

    [GeneratedRegex(@"^(lib)?ggml-(?<backend>[a-z]+)(-(?<variant>[\w.]+?))?\.(so|dll)$")]
    private static partial Regex BackendName();
}

/// <summary>A backend library and which of its variants it is.</summary>
internal sealed record LlamaBackendFile(string Backend, string Variant, string Path);

/// <summary>A backend library that is there and cannot be loaded.</summary>
/// <param name="Backend">Its name: <c>vulkan</c>.</param>
/// <param name="Reason">What the loader says: mostly a library of the driver that is missing.</param>
public sealed record LlamaBackendProblem(string Backend, string Reason);
