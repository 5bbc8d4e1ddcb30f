using EdgeFarm.Toolchains.Hosts;

namespace EdgeFarm.Toolchains.Tests.Hosts;

/// <summary>A host out of recorded files, which are real files below a root of their own, and recorded tools.</summary>
internal sealed class RecordedHost : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-host-").FullName;
    private readonly Dictionary<string, ToolOutput> _tools = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _variables = new(StringComparer.Ordinal);

    public string Os { get; init; } = "linux";

    public string Arch { get; init; } = "x64";

    /// <summary>The command lines that were run.</summary>
    public List<string> Ran { get; } = [];

    public HostSource Source => new()
    {
        Root = _root,
        Os = Os,
        Arch = Arch,
        Variable = name => _variables.GetValueOrDefault(name),
        RunAsync = (tool, arguments, _) =>
        {
            var line = $"{tool} {string.Join(' ', arguments)}";
            Ran.Add(line);
            return Task.FromResult(_tools.Where(t => line.StartsWith(t.Key, StringComparison.Ordinal)).Select(t => t.Value).FirstOrDefault()
                ?? new ToolOutput(null, "", "not installed"));
        },
    };

    public HostProbeOptions Options => new(Path.Combine(_root, "state"));

    public RecordedHost File(string path, string text)
    {
        var full = Path.Combine(_root, path.TrimStart('/'));
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        System.IO.File.WriteAllText(full, text.ReplaceLineEndings("\n"));
        return this;
    }

    public RecordedHost Tool(string commandLine, string output, int exitCode = 0, string error = "")
    {
        _tools[commandLine] = new ToolOutput(exitCode, output, error);
        return this;
    }

    public RecordedHost Variable(string name, string value)
    {
        _variables[name] = value;
        return this;
    }

    public Task<HostReport> ProbeAsync(string? machineId = null) =>
        HostProber.ProbeAsync(Source, Options with { MachineId = machineId }, CancellationToken.None);

    public void Dispose() => Directory.Delete(_root, recursive: true);
}

internal static class ReportAssertions
{
    public static string? Text(this HostReport report, string name) => report.Properties.GetValueOrDefault(name)?.Text;

    public static double? Number(this HostReport report, string name) => report.Properties.GetValueOrDefault(name)?.Number;

    public static IEnumerable<string> Features(this HostReport report) => report.Properties[HostPropertyNames.CpuFeatureSet].Items!;
}
