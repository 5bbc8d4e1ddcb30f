using System.Globalization;
using EdgeFarm.Core.Jobs;
using Microsoft.ML.OnnxRuntime;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>How a session is made. Every value is recorded with what is measured in it.</summary>
public sealed record OrtSettings
{
    /// <summary>Threads inside an operator; 0 takes the cores that this process may use.</summary>
    public int IntraOpThreads { get; init; }

    /// <summary>Threads across operators; above 1 the graph runs in parallel mode.</summary>
    public int InterOpThreads { get; init; } = 1;

    /// <summary>Whether idle threads spin: faster on a quiet machine, much slower on a busy one.</summary>
    public bool AllowSpinning { get; init; } = true;

    /// <summary>Execution provider: <c>cpu</c>, another that this build of ONNX Runtime offers, or a plug-in's by its name or the id of its device.</summary>
    public string Provider { get; init; } = "cpu";

    /// <summary><c>all</c>, <c>extended</c>, <c>basic</c> or <c>disabled</c>.</summary>
    public string GraphOptimization { get; init; } = "all";

    /// <summary>Further configuration entries, as ONNX Runtime names them. <c>session.set_denormal_as_zero</c> is refused: it changes the arithmetic of this whole process.</summary>
    public IReadOnlyDictionary<string, string> Config { get; init; } = new Dictionary<string, string>();

    /// <summary>Whether the session keeps the memory of values for the next run: faster, and never given back while it lives.</summary>
    internal bool KeepsMemory { get; init; } = true;

    /// <summary>Beginning of the path of a profile that the session writes; null for none. Not recorded: profiled times are no measurements.</summary>
    internal string? ProfilePrefix { get; init; }

    /// <summary>Threads inside an operator, resolved.</summary>
    public int ResolvedIntraOpThreads => IntraOpThreads > 0 ? IntraOpThreads : Math.Max(1, Environment.ProcessorCount);

    /// <summary>The settings as recorded: names as ONNX Runtime has them, values resolved.</summary>
    public IReadOnlyDictionary<string, string> Recorded()
    {
        var values = new SortedDictionary<string, string>(Config.ToDictionary(), StringComparer.Ordinal)
        {
            ["execution_provider"] = Provider,
            ["graph_optimization_level"] = GraphOptimization,
            ["inter_op_num_threads"] = InterOpThreads.ToString(CultureInfo.InvariantCulture),
            ["intra_op_num_threads"] = ResolvedIntraOpThreads.ToString(CultureInfo.InvariantCulture),
            ["session.intra_op.allow_spinning"] = AllowSpinning ? "1" : "0",
        };
        return values;
    }

    /// <summary>Options of a session; the caller disposes them.</summary>
    /// <exception cref="FailureException">InvalidInput or Unsupported: a setting that cannot be.</exception>
    internal SessionOptions ToOptions()
    {
        var options = new SessionOptions
        {
            IntraOpNumThreads = ResolvedIntraOpThreads,
            InterOpNumThreads = InterOpThreads,
            EnableCpuMemArena = KeepsMemory,
            EnableMemoryPattern = KeepsMemory,
            ExecutionMode = InterOpThreads > 1 ? ExecutionMode.ORT_PARALLEL : ExecutionMode.ORT_SEQUENTIAL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
            GraphOptimizationLevel = GraphOptimization switch
            {
                "all" => GraphOptimizationLevel.ORT_ENABLE_ALL,
                "extended" => GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
                "basic" => GraphOptimizationLevel.ORT_ENABLE_BASIC,
                "disabled" => GraphOptimizationLevel.ORT_DISABLE_ALL,
                _ => throw new FailureException(Failure.InvalidInput($"graph optimization '{GraphOptimization}' is not one of all, extended, basic, disabled")),
            },
        };
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", AllowSpinning ? "1" : "0");
        foreach (var (key, value) in Config)
        {
            if (key.Contains("denormal_as_zero", StringComparison.Ordinal))
            {
                throw new FailureException(Failure.InvalidInput("session.set_denormal_as_zero is not allowed: it changes the floating-point mode of threads that are not ONNX Runtime's"));
            }

            options.AddSessionConfigEntry(key, value);
        }

        if (ProfilePrefix is not null)
        {
            options.ProfileOutputPathPrefix = ProfilePrefix;
            options.EnableProfiling = true;
        }

        AddProvider(options);
        return options;
    }

    private void AddProvider(SessionOptions options)
    {
        if (Provider is "cpu" or "CPUExecutionProvider")
        {
            return;
        }

        ExecutionProviders.Append(options, Provider);
    }
}
