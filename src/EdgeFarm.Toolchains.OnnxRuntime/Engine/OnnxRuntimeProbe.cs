using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>A device as ONNX Runtime sees it.</summary>
/// <param name="Kind"><c>cpu</c>, <c>gpu</c> or <c>npu</c>.</param>
/// <param name="Provider">Execution provider that serves it.</param>
/// <param name="Vendor">Vendor's name; may be empty.</param>
/// <param name="VendorId">PCI vendor id; 0 where unknown.</param>
/// <param name="DeviceId">PCI device id; 0 where unknown.</param>
public sealed record OnnxRuntimeDevice(string Kind, string Provider, string Vendor, uint VendorId, uint DeviceId);

/// <summary>What the ONNX Runtime of this process can do.</summary>
/// <param name="Version">Release.</param>
/// <param name="Providers">Execution providers compiled in, best first.</param>
/// <param name="Devices">Devices by provider.</param>
/// <param name="LibraryPath">The native library; empty where it cannot be told.</param>
public sealed record OnnxRuntimeInfo(string Version, IReadOnlyList<string> Providers, IReadOnlyList<OnnxRuntimeDevice> Devices, string LibraryPath);

/// <summary>Asks the native library what it is. Loads it into the process: only a job host does that.</summary>
public static class OnnxRuntimeProbe
{
    /// <summary>Runs the probe; Unsupported where the native library does not load here.</summary>
    public static Outcome<OnnxRuntimeInfo> Run()
    {
        try
        {
            var environment = OrtEnv.Instance();
            var devices = environment.GetEpDevices()
                .Select(d => new OnnxRuntimeDevice(
                    d.HardwareDevice.Type.ToString().ToLowerInvariant(), d.EpName, d.HardwareDevice.Vendor, d.HardwareDevice.VendorId, d.HardwareDevice.DeviceId))
                .ToList();
            return new OnnxRuntimeInfo(environment.GetVersionString(), environment.GetAvailableProviders(), devices, LibraryPath());
        }
        catch (Exception e) when (OrtFailures.IsExpected(e))
        {
            return OrtFailures.From(e, "", "load");
        }
    }

    private static string LibraryPath()
    {
        using var process = System.Diagnostics.Process.GetCurrentProcess();
        foreach (System.Diagnostics.ProcessModule module in process.Modules)
        {
            if (Path.GetFileName(module.FileName) is { } name && name.Contains("onnxruntime", StringComparison.OrdinalIgnoreCase) && !name.EndsWith(".ML.OnnxRuntime.dll", StringComparison.OrdinalIgnoreCase)
                && !name.StartsWith("EdgeFarm", StringComparison.Ordinal))
            {
                return module.FileName;
            }
        }

        return "";
    }
}
