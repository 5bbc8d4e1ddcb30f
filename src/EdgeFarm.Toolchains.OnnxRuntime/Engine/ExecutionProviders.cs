using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>A device of a plug-in execution provider.</summary>
/// <param name="Id">Provider's short name and number among its devices: <c>qnn:0</c>.</param>
/// <param name="Device">ONNX Runtime's own.</param>
internal sealed record PluginDevice(string Id, OrtEpDevice Device);

/// <summary>
/// Execution providers beyond those compiled in: libraries that the worker's configuration names, as <c>NAME=PATH</c> separated by
/// semicolons in <see cref="Variable"/>.
/// </summary>
internal static class ExecutionProviders
{
    /// <summary>The environment variable.</summary>
    public const string Variable = OnnxRuntimeDescriptor.ProvidersVariable;

    private const string Suffix = "ExecutionProvider";

    private static readonly Lazy<(IReadOnlyList<PluginDevice> Devices, IReadOnlyList<string> Problems)> Loaded =
        new(() => Register(Environment.GetEnvironmentVariable(Variable) ?? ""));

    /// <summary>Devices of the libraries that could be loaded.</summary>
    public static IReadOnlyList<PluginDevice> Devices => Loaded.Value.Devices;

    /// <summary>Why libraries could not be loaded, one line each.</summary>
    public static IReadOnlyList<string> Problems => Loaded.Value.Problems;

    /// <summary>Name without its suffix, in small letters: <c>qnn</c> for <c>QNNExecutionProvider</c>.</summary>
    public static string Short(string provider) =>
        (provider.EndsWith(Suffix, StringComparison.Ordinal) ? provider[..^Suffix.Length] : provider).ToLowerInvariant();

    /// <summary>Full name of a provider or of a plug-in device's provider, as the profiler has it; the name itself where nothing is known of it.</summary>
    public static string FullName(string provider) => Devices.FirstOrDefault(d => d.Id == provider || Short(d.Device.EpName) == Short(provider))?.Device.EpName
        ?? OrtEnv.Instance().GetAvailableProviders().FirstOrDefault(p => Short(p) == Short(provider)) ?? provider;

    /// <summary>Adds a provider to a session: a plug-in's device by its id, a plug-in's devices by its name, or one that is compiled in.</summary>
    /// <exception cref="FailureException">Unsupported: there is none of this name; says which there are.</exception>
    public static void Append(SessionOptions options, string provider)
    {
        var plugins = Devices.Where(d => d.Id == provider).Take(1).ToList();
        if (plugins.Count == 0)
        {
            plugins = [.. Devices.Where(d => Short(d.Device.EpName) == Short(provider))];
        }

        if (plugins.Count > 0)
        {
            options.AppendExecutionProvider(OrtEnv.Instance(), [.. plugins.Select(p => p.Device)], new Dictionary<string, string>());
            return;
        }

        var available = OrtEnv.Instance().GetAvailableProviders();
        var full = available.FirstOrDefault(p => Short(p) == Short(provider)) ?? throw new FailureException(Failure.Unsupported(
            $"this ONNX Runtime has no execution provider '{provider}'; it has {string.Join(", ", available.Concat(Devices.Select(d => d.Id)))}. "
            + $"A plug-in provider's library is named to the worker as {Variable}=NAME=PATH{string.Concat(Problems.Select(p => "; " + p))}"));
        options.AppendExecutionProvider(full[..^Suffix.Length], []);
    }

    /// <summary>Registers libraries with this process's ONNX Runtime. What cannot be loaded is told and left out.</summary>
    /// <param name="libraries"><c>NAME=PATH;...</c></param>
    internal static (IReadOnlyList<PluginDevice> Devices, IReadOnlyList<string> Problems) Register(string libraries)
    {
        var problems = new List<string>();
        var registered = false;
        foreach (var entry in libraries.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (entry.Split('=', 2, StringSplitOptions.TrimEntries) is not [{ Length: > 0 } name, { Length: > 0 } path])
            {
                problems.Add($"{Variable} has '{entry}', which is not NAME=PATH");
                continue;
            }

            try
            {
                OrtEnv.Instance().RegisterExecutionProviderLibrary(name, path);
                registered = true;
            }
            catch (Exception e) when (OrtFailures.IsExpected(e))
            {
                problems.Add($"execution provider {name} cannot be loaded from '{path}': {e.Message}");
            }
        }

        return registered
            ? ([.. OrtEnv.Instance().GetEpDevices().Where(d => d.EpName != "CPU" + Suffix).GroupBy(d => Short(d.EpName)).SelectMany(g => g.Select((d, i) => new PluginDevice($"{g.Key}:{i}", d)))], problems)
            : ([], problems);
    }
}
