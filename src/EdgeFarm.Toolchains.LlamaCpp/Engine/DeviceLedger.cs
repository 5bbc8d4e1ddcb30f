using System.Globalization;
using System.Text.RegularExpressions;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>
/// What the library says, as it loads a model and makes contexts, about the memory that it takes on a device: its log has a line for each
/// buffer. No other interface of the library tells, and a driver's figure of free memory counts other programs too.
/// </summary>
/// <param name="device">ggml's name of the device (<c>CUDA0</c>).</param>
internal sealed partial class DeviceLedger(string device)
{
    /// <summary>Bytes of the model's tensors on the device.</summary>
    public double Model { get; private set; }

    /// <summary>Bytes of the buffers that the library computes in, of the newest context.</summary>
    public double Compute { get; private set; }

    /// <summary>The most bytes that lay on the device at once: the model and the buffers of the largest context.</summary>
    public double Peak { get; private set; }

    /// <summary>The layers that went to accelerators and the model's, as the library counts them; null until it said so.</summary>
    public (int Offloaded, int Layers)? Layers { get; private set; }

    private double Context { get; set; }

    /// <summary>A context ends or a new one begins: its buffers are gone.</summary>
    public void StartContext() => (Context, Compute) = (0, 0);

    /// <summary>Reads a line of the log.</summary>
    public void Read(string line)
    {
        if (OffloadLine().Match(line) is { Success: true } offload)
        {
            Layers = (Number(offload.Groups[1]), Number(offload.Groups[2]));
            return;
        }

        if (BufferLine().Match(line) is not { Success: true } buffer || !IsOurs(buffer.Groups["name"].Value))
        {
            return;
        }

        var bytes = Math.Round(double.Parse(buffer.Groups["mib"].Value, CultureInfo.InvariantCulture) * 1024 * 1024);
        switch (buffer.Groups["what"].Value)
        {
            case "model":
                Model += bytes;
                break;
            case "compute":
                Compute += bytes;
                Context += bytes;
                break;
            default:
                Context += bytes;
                break;
        }

        Peak = Math.Max(Peak, Model + Context);
    }

    // A device may have buffers of several kinds ("MTL0_Mapped"); "CUDA_Host" lies in the machine's memory.
    private bool IsOurs(string buffer) =>
        buffer.Equals(device, StringComparison.OrdinalIgnoreCase) || buffer.StartsWith($"{device}_", StringComparison.OrdinalIgnoreCase);

    private static int Number(Group group) => int.Parse(group.Value, NumberStyles.None, CultureInfo.InvariantCulture);

    // "load_tensors: offloaded 7/7 layers to GPU"
    [GeneratedRegex(@"offloaded (\d{1,6})/(\d{1,6}) layers to GPU")]
    private static partial Regex OffloadLine();

    // "llama_kv_cache:    Vulkan0 KV buffer size =     0.75 MiB"
    [GeneratedRegex(@"^\w+:\s+(?<name>\S+)\s+(?<what>\S+)\s+(?:\S+ )*?buffer size = +(?<mib>\d+(?:\.\d+)?) MiB$")]
    private static partial Regex BufferLine();
}
