using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.LlamaCpp;

namespace EdgeFarm.JobHost.GateHost;

/// <summary>
/// Runs a real engine's jobs. Each job leaves a file in <c>started</c> of the directory that EDGEFARM_TEST_GATE names; quantizations
/// wait as long as the file <c>hold</c> is there (the import and the conversion, which all forms share, do not).
/// </summary>
internal sealed class GatedEngine(IToolchainEngine inner) : IToolchainEngine
{
    private const string Variable = "EDGEFARM_TEST_GATE";

    public string Id => inner.Id;

    public Outcome<EngineProbe> Probe(CancellationToken cancellationToken) => inner.Probe(cancellationToken);

    public Outcome<EngineResult> Run(JobContext job, CancellationToken cancellationToken)
    {
        var gate = Environment.GetEnvironmentVariable(Variable) ?? throw new InvalidOperationException($"{Variable} names no directory");
        var started = Directory.CreateDirectory(Path.Combine(gate, "started"));
        var parameters = string.Join(",", job.Parameters.Select(p => $"{p.Key}={p.Value}"));
        var part = Path.Combine(gate, Guid.NewGuid().ToString("N"));
        File.WriteAllText(part, $"{job.Operation}\t{parameters}\t{job.OutputDirectory}");
        File.Move(part, Path.Combine(started.FullName, Path.GetFileName(part)));
        while (job.Operation == LlamaCppDescriptor.QuantizationPass && File.Exists(Path.Combine(gate, "hold")))
        {
            job.Progress(0, "waiting at the gate");
            if (cancellationToken.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(50)))
            {
                return new Failure(FailureType.Cancelled, "cancelled at the gate");
            }
        }

        return inner.Run(job, cancellationToken);
    }
}
