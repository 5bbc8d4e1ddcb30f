using System.Globalization;

namespace EdgeFarm.Toolchains.Hosts.Accelerators;

/// <summary>NVIDIA GPUs, from <c>nvidia-smi --query-gpu=.. --format=csv,noheader,nounits</c>.</summary>
internal static class NvidiaSmi
{
    private const string Fields = "index,uuid,name,memory.total,driver_version,power.limit,pci.bus_id";

    /// <summary>Asks the tool; a note tells what is wrong when it is there and does not answer.</summary>
    public static async Task<(IReadOnlyList<DetectedDevice> Devices, string? Note)> DetectAsync(HostSource source, CancellationToken cancellationToken)
    {
        var output = await QueryAsync(source, Fields + ",compute_cap", cancellationToken);
        if (output is { IsInstalled: true, IsSuccess: false } && (output.Output + output.Error).Contains("compute_cap", StringComparison.Ordinal))
        {
            // Drivers before 510 do not know the field and refuse the whole query.
            output = await QueryAsync(source, Fields, cancellationToken);
        }

        if (!output.IsInstalled)
        {
            return ([], null);
        }

        var (devices, bad) = output.IsSuccess ? Parse(output.Output) : ([], 0);
        var said = FirstLine(output.Output + "\n" + output.Error);
        return (devices, output.IsSuccess
            ? bad > 0 ? $"nvidia-smi gave {bad} lines that could not be read; first line '{said}'" : null
            : said.StartsWith("No devices were found", StringComparison.Ordinal) ? null
            : $"nvidia-smi failed with exit code {output.ExitCode}: {said}; check the NVIDIA driver");
    }

    /// <summary>Reads the lines of the table; <c>Bad</c> counts those that are no GPU.</summary>
    public static (IReadOnlyList<DetectedDevice> Devices, int Bad) Parse(string csv)
    {
        var devices = new List<DetectedDevice>();
        var bad = 0;
        foreach (var line in csv.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var fields = line.Split(',', StringSplitOptions.TrimEntries);
            if (fields.Length is 7 or 8 && int.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out var index) && Known(fields[2]) is { } name)
            {
                devices.Add(ToDevice(index, name, fields));
            }
            else if (!line.StartsWith("No devices were found", StringComparison.Ordinal))
            {
                bad++;
            }
        }

        return (devices, bad);
    }

    private static DetectedDevice ToDevice(int index, string name, string[] fields)
    {
        // Chips that share the machine's memory (GB10, Jetson) give no size.
        var mebibytes = Number(fields[3]);
        var isShared = mebibytes is null;
        var bag = new PropertyBag()
            .Set(HostPropertyNames.GpuVendor, "nvidia")
            .Set(HostPropertyNames.GpuName, name)
            .Set(HostPropertyNames.GpuUuid, Known(fields[1]))
            .Set(HostPropertyNames.GpuIntegrated, isShared)
            .Set(HostPropertyNames.GpuPowerLimit, Number(fields[5]))
            .Set(HostPropertyNames.PciAddress, Known(fields[6])?.ToLowerInvariant())
            .Set(HostPropertyNames.GpuComputeCapability, fields.Length > 7 ? Number(fields[7]) : null);
        return new DetectedDevice("cuda", "gpu", name, isShared ? null : (long)(mebibytes!.Value * 1024 * 1024), Known(fields[4]), bag) { Index = index };
    }

    private static Task<ToolOutput> QueryAsync(HostSource source, string fields, CancellationToken cancellationToken) =>
        source.RunAsync("nvidia-smi", [$"--query-gpu={fields}", "--format=csv,noheader,nounits"], cancellationToken);

    /// <summary>The value, or null for the marks that stand for none: <c>[N/A]</c>, <c>[Not Supported]</c>, <c>[Unknown Error]</c>, ...</summary>
    private static string? Known(string field) => field.Length == 0 || field is "N/A" || field.StartsWith('[') ? null : field;

    private static double? Number(string field) =>
        double.TryParse(Known(field), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) && value is > 0 and < 1e12 ? value : null;

    private static string FirstLine(string text) =>
        text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).FirstOrDefault() ?? "";
}
