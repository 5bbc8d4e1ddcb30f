using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>Where a model's layers go.</summary>
/// <param name="Device"><c>cpu</c>, <c>gpu</c> (the first one), or a device's name as the probe lists it.</param>
/// <param name="GpuLayers">Layers on the device, -1 for all; 0 for the CPU.</param>
internal sealed record ModelPlacement(string Device = "cpu", int GpuLayers = 0)
{
    public bool OnCpu => Device.Equals("cpu", StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether the device must take part: a number of layers above zero, or all.</summary>
    public bool Offloads => !OnCpu && GpuLayers != 0;
}

/// <summary>A model that is loaded.</summary>
internal sealed unsafe class LlamaModel : IDisposable
{
    private readonly LlamaLibrary _library;
    private void* _handle;

    private LlamaModel(LlamaLibrary library, void* handle, ModelPlacement placement, DeviceLedger? ledger)
    {
        _library = library;
        _handle = handle;
        (Placement, Ledger) = (placement, ledger);
    }

    public ModelPlacement Placement { get; }

    /// <summary>What lies on the device; null on the CPU.</summary>
    public DeviceLedger? Ledger { get; }

    public void* Handle => _handle;

    public void* Vocab => _library.Api.ModelGetVocab(_handle);

    public int VocabSize => _library.Api.VocabNTokens(Vocab);

    /// <summary>Whether each chunk of text starts with the token <see cref="Bos"/>.</summary>
    public bool AddBos => _library.Api.VocabGetAddBos(Vocab) != 0;

    public int Bos => _library.Api.VocabBos(Vocab);

    public bool HasEncoder => _library.Api.ModelHasEncoder(_handle) != 0;

    public long Parameters => (long)_library.Api.ModelNParams(_handle);

    /// <summary>Bytes of all tensors.</summary>
    public long Size => (long)_library.Api.ModelSize(_handle);

    /// <summary>The library's own description (<c>llama ?B Q4_K - Medium</c>).</summary>
    public string Description
    {
        get
        {
            var text = stackalloc byte[256];
            return _library.Api.ModelDesc(_handle, text, 256) > 0 ? LlamaApi.Text(text) : "";
        }
    }

    /// <summary>Loads a model that <see cref="GgufModelCheck"/> has passed. InvalidInput, Unsupported or OutOfMemory, from the library's log.</summary>
    /// <param name="library">The library.</param>
    /// <param name="log">The log of this operation.</param>
    /// <param name="path">The model.</param>
    /// <param name="placement">Where its layers go.</param>
    /// <param name="hooks">Progress and cancellation.</param>
    /// <param name="checkTensors">Whether the library shall validate every block of the data (finite scales).</param>
    public static LlamaModel Load(LlamaLibrary library, LlamaLog log, string path, ModelPlacement placement, LlamaHooks hooks, bool checkTensors = false)
    {
        var layout = library.Abi.Model;
        var parameters = library.Api.ModelDefaultParams();
        var devices = stackalloc void*[2];
        var (device, nameOfDevice) = Device(library, placement);
        devices[0] = (void*)device;
        devices[1] = null;
        parameters.Set(layout.Devices, (nint)devices);
        parameters.Set(layout.GpuLayers, placement.OnCpu ? 0 : placement.GpuLayers);
        parameters.Set(layout.CheckTensors, checkTensors);
        var ledger = placement.OnCpu ? null : new DeviceLedger(nameOfDevice);
        log.Line = ledger is null ? null : ledger.Read;
        var handle = GCHandle.Alloc(hooks);
        try
        {
            parameters.Set(layout.Progress, (nint)(delegate* unmanaged[Cdecl]<float, void*, byte>)&OnProgress);
            parameters.Set(layout.ProgressData, GCHandle.ToIntPtr(handle));
            fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
            {
                var model = library.Api.ModelLoadFromFile(name, parameters);
                hooks.Cancellation.ThrowIfCancellationRequested();
                if (model is null)
                {
                    throw new FailureException(FailureOf(path, log));
                }

                var loaded = new LlamaModel(library, model, placement, ledger);
                if (placement.Offloads && ledger is not { Layers.Offloaded: > 0, Model: > 0 })
                {
                    loaded.Dispose();
                    throw new FailureException(Failure.Unsupported($"llama.cpp put no layer of {path} on {placement.Device}: it would have run on the CPU without a word"));
                }

                return loaded;
            }
        }
        finally
        {
            handle.Free();
            log.Line = null;
        }
    }

    /// <summary>The tokens of a text.</summary>
    /// <param name="utf8">The text.</param>
    /// <param name="addSpecial">Whether special tokens stand at its ends where the vocabulary wants them.</param>
    /// <param name="parseSpecial">Whether special tokens are recognized inside it.</param>
    public int[] Tokenize(ReadOnlySpan<byte> utf8, bool addSpecial = true, bool parseSpecial = false)
    {
        var tokens = new int[utf8.Length + 2];
        fixed (byte* text = utf8)
        fixed (int* target = tokens)
        {
            var count = _library.Api.Tokenize(Vocab, text, utf8.Length, target, tokens.Length, addSpecial ? (byte)1 : (byte)0, parseSpecial ? (byte)1 : (byte)0);
            return count >= 0 ? tokens[..count] : throw new FailureException(Failure.InvalidInput($"the text gives more than {tokens.Length} tokens"));
        }
    }

    public void Dispose()
    {
        if (_handle is not null)
        {
            _library.Api.ModelFree(_handle);
            _handle = null;
        }
    }

    /// <summary>The device to hand to the library; null stands for "none but the CPU", which no number of layers says.</summary>
    private static (nint Handle, string Name) Device(LlamaLibrary library, ModelPlacement placement)
    {
        if (placement.OnCpu)
        {
            return (0, "");
        }

        library.LoadAccelerators();
        var devices = library.QueryDevices();
        var index = placement.Device.Equals("gpu", StringComparison.OrdinalIgnoreCase)
            ? devices.ToList().FindIndex(device => device.Kind is LlamaDeviceKind.Gpu or LlamaDeviceKind.IntegratedGpu)
            : devices.ToList().FindIndex(device => device.Name.Equals(placement.Device, StringComparison.OrdinalIgnoreCase));
        if (index >= 0)
        {
            return ((nint)library.Api.DevGet((nuint)index), devices[index].Name);
        }

        var problems = library.Info.Problems is { Count: > 0 } found ? string.Join("; ", found.Select(problem => $"{problem.Backend}: {problem.Reason}"))
            : "a GPU build whose driver is missing shows none";
        throw new FailureException(Failure.Unsupported(
            $"llama.cpp in {library.Info.Directory} has no device \"{placement.Device}\"; it has {string.Join(", ", devices.Select(device => device.Name))}. {problems}"));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte OnProgress(float progress, void* data)
    {
        try
        {
            var hooks = (LlamaHooks)GCHandle.FromIntPtr((nint)data).Target!;
            hooks.Progress?.Invoke(new LlamaProgress("load", progress));
            return hooks.Cancellation.IsCancellationRequested ? (byte)0 : (byte)1;
        }
        catch (Exception)
        {
            // An exception that left this callback would end the process; a broken hook ends the load instead.
            return 0;
        }
    }

    /// <summary>The failure that the library's log explains: it returns null for everything.</summary>
    internal static Failure FailureOf(string path, LlamaLog log)
    {
        var reason = log.Errors is { Length: > 0 } errors ? errors : "no reason was given";
        var message = $"llama.cpp cannot load {path}: {reason}";
        bool Says(string text) => reason.Contains(text, StringComparison.OrdinalIgnoreCase);
        return Says("unable to allocate") || Says("failed to allocate") || Says("out of memory") ? new Failure(FailureType.OutOfMemory, message)
            : Says("unknown model architecture") || Says("unknown pre-tokenizer") || Says("not supported") || Says("unsupported") ? Failure.Unsupported(message)
            : Failure.InvalidInput(message);
    }
}
