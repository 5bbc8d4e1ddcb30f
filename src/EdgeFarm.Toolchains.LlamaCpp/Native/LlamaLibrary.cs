using System.Runtime.InteropServices;
using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>
/// llama.cpp, loaded and checked: one build per process, because the library keeps its state in globals and cannot be unloaded.
/// </summary>
internal sealed class LlamaLibrary
{
    private static readonly Lock s_gate = new();
    private static LlamaLibrary? s_loaded;

    private readonly LlamaLibraryFiles _files;
    private bool _acceleratorsLoaded;

    private LlamaLibrary(LlamaApi api, LlamaAbi abi, LlamaLibraryFiles files, LlamaLibraryInfo info) => (Api, Abi, _files, Info) = (api, abi, files, info);

    public LlamaApi Api { get; }

    public LlamaAbi Abi { get; }

    public LlamaLibraryInfo Info { get; private set; }

    /// <summary>
    /// Runs an operation with the library loaded and its log attached. Operations run one after the other. A failure carries the log's tail.
    /// </summary>
    /// <param name="path">A build of the user's own, or null for the environment's or the packaged one.</param>
    /// <param name="hooks">Where log and progress go.</param>
    /// <param name="operation">What to do.</param>
    public static Outcome<T> Run<T>(string? path, LlamaHooks hooks, Func<LlamaLibrary, LlamaLog, T> operation)
    {
        lock (s_gate)
        {
            var log = new LlamaLog(hooks.Log);
            try
            {
                var library = Load(path, log);
                LlamaLog.Attach(library.Api, log);
                try
                {
                    hooks.Cancellation.ThrowIfCancellationRequested();
                    return operation(library, log);
                }
                finally
                {
                    LlamaLog.Attach(library.Api, null);
                }
            }
            catch (FailureException e)
            {
                return e.Failure with { LogTail = log.Tail };
            }
            catch (OperationCanceledException)
            {
                return new Failure(FailureType.Cancelled, "the operation was cancelled", log.Tail);
            }
            catch (OutOfMemoryException e)
            {
                return new Failure(FailureType.OutOfMemory, $"out of memory: {e.Message}", log.Tail);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return new Failure(FailureType.Internal, e.Message, log.Tail);
            }
        }
    }

    /// <summary>
    /// Loads the backends of accelerators, once. A job for the CPU does without them: their drivers take memory and time of the process that
    /// is measured.
    /// </summary>
    public void LoadAccelerators()
    {
        if (_acceleratorsLoaded)
        {
            return;
        }

        _acceleratorsLoaded = true;
        var (loaded, problems) = (new List<string>(), new List<LlamaBackendProblem>());
        foreach (var backend in _files.Backends(accelerators: true, problems))
        {
            if (LoadBackend(Api, backend))
            {
                loaded.Add(backend.Backend);
            }
            else
            {
                problems.Add(new LlamaBackendProblem(backend.Backend, $"{Path.GetFileName(backend.Path)} does not start here: it finds no driver, or belongs to another release"));
            }
        }

        Info = Info with { Loaded = loaded, Problems = problems, Devices = QueryDevices() };
    }

    /// <summary>The devices of the backends that are loaded, with the memory that is free now.</summary>
    public unsafe IReadOnlyList<LlamaDevice> QueryDevices()
    {
        var devices = new List<LlamaDevice>();
        for (nuint i = 0; i < Api.DevCount(); i++)
        {
            var device = Api.DevGet(i);
            DeviceProps props = default;
            Api.DevGetProps(device, &props);
            devices.Add(new LlamaDevice(
                LlamaApi.Text(props.Name),
                LlamaApi.Text(props.Description),
                (LlamaDeviceKind)props.Type,
                LlamaApi.Text(Api.RegName(Api.DevBackendReg(device))),
                (long)props.MemoryFree,
                (long)props.MemoryTotal,
                props.DeviceId is null ? null : LlamaApi.Text(props.DeviceId)));
        }

        return devices;
    }

    private static LlamaLibrary Load(string? path, LlamaLog log)
    {
        var files = LlamaLibraryFiles.Locate(path);
        if (s_loaded is { } loaded)
        {
            return loaded.Info.Directory == files.Directory
                ? loaded
                : throw new FailureException(Failure.Unsupported($"this process has loaded llama.cpp from {loaded.Info.Directory} and cannot also load {files.Directory}; use another process"));
        }

        return s_loaded = LoadFiles(files, log);
    }

    private static unsafe LlamaLibrary LoadFiles(LlamaLibraryFiles files, LlamaLog log)
    {
        // The order lets each library find the one before it by its name, whatever its run path says.
        var ggmlBase = Open(files.GgmlBase);
        var ggml = Open(files.Ggml);
        var llama = Open(files.Llama);
        var api = new LlamaApi(llama, ggml, ggmlBase);
        LlamaLog.Attach(api, log);
        var abi = LlamaGuards.Check(api, files, LlamaAbi.Known);
        var backends = files.Backends(accelerators: false, []);
        foreach (var backend in backends)
        {
            if (!LoadBackend(api, backend) && backend.Backend == "cpu")
            {
                throw new FailureException(Failure.Unsupported($"llama.cpp could not load its CPU backend {backend.Path}: {log.Errors}"));
            }
        }

        if (api.DevByType((int)LlamaDeviceKind.Cpu) is null)
        {
            throw new FailureException(Failure.Unsupported($"no CPU backend in {files.Directory} runs on this processor; use a build of llama.cpp for it through {LlamaLibraryFiles.Variable}"));
        }

        api.BackendInit();
        var info = new LlamaLibraryInfo(
            LlamaApi.Text(api.Version()),
            LlamaApi.Text(api.GgmlVersion()),
            LlamaApi.Text(api.GgmlCommit()),
            backends.FirstOrDefault(backend => backend.Backend == "cpu")?.Variant ?? "generic",
            Features(LlamaApi.Text(api.PrintSystemInfo())),
            files.ComputeDigest(),
            files.Directory,
            files.Packaged,
            [],
            [],
            []);
        var library = new LlamaLibrary(api, abi, files, info);
        library.Info = info with { Devices = library.QueryDevices() };
        return library;
    }

    private static unsafe bool LoadBackend(LlamaApi api, LlamaBackendFile backend)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(backend.Path + '\0'))
        {
            return api.BackendLoad(name) is not null;
        }
    }

    private static nint Open(string file)
    {
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            throw new FailureException(Failure.Unsupported($"the library {file} cannot be loaded: {e.Message}"));
        }
    }

    // "CPU : SSE3 = 1 | AVX = 1 | ... | OPENMP = 1 | REPACK = 1 |" with one part per backend.
    private static IReadOnlyList<string> Features(string systemInfo) =>
    [
        .. systemInfo.Split('|', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(part => part.Contains(" : ", StringComparison.Ordinal) ? part[(part.LastIndexOf(" : ", StringComparison.Ordinal) + 3)..] : part)
            .Select(part => part.Split('=', StringSplitOptions.TrimEntries))
            .Where(part => part.Length == 2 && part[1] != "0")
            .Select(part => part[1] == "1" ? part[0] : $"{part[0]}={part[1]}"),
    ];
}
