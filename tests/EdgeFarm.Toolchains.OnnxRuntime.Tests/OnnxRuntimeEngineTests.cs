using System.Collections.Immutable;
using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests;

public sealed class OnnxRuntimeEngineTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly OnnxRuntimeEngine _engine = new();

    [Fact]
    public void The_probe_says_what_the_descriptor_promises()
    {
        var probe = _engine.Probe(CancellationToken.None).Value;
        Assert.Equal(OnnxRuntimeDescriptor.Identity, probe.Toolchain!.Identity);
        Assert.Equal(OnnxRuntimeDescriptor.RuntimeIdentity, probe.Runtime!.Identity);
        Assert.Equal(64, probe.Runtime.LibraryDigest.Length);
        Assert.Equal("cpu", Assert.Single(probe.Runtime.Devices));
    }

    [Fact]
    public void Every_form_and_default_of_the_descriptor_is_accepted_by_its_pass()
    {
        foreach (var step in OnnxRuntimeDescriptor.Value.Forms.SelectMany(f => f.Steps))
        {
            var given = step.Parameters.Where(p => p.Key != "calibration").ToDictionary();
            Assert.True(OnnxPasses.Find(step.Type).Value.Parse(given).IsOk);
        }

        Assert.Equal("fp32", OnnxRuntimeDescriptor.Value.BaselineForm);
        Assert.Empty(OnnxRuntimeDescriptor.Value.FindForm("FP32")!.Steps);
    }

    [Fact]
    public void A_form_is_made_measured_and_evaluated()
    {
        var form = OnnxRuntimeDescriptor.Value.FindForm("dynamic-int8")!.Steps[0];
        var made = Run(JobKind.Optimize, form.Type, form.Parameters.SetItem("op_types_to_quantize", "MatMul,Gemm,Conv"), ("model", TestFiles.Digits));
        Assert.Equal("model.onnx", made.Outputs.Single().FileName);
        var output = _directory["model.onnx"];
        Assert.True(File.Exists(output));
        using (var report = JsonDocument.Parse(made.Result.Report))
        {
            Assert.True(report.RootElement.GetProperty("changed_nodes").GetInt32() > 5);
            Assert.Equal("OnnxDynamicQuantization", report.RootElement.GetProperty("pass").GetString());
        }

        var measured = Run(JobKind.Benchmark, "Benchmark", Parameters(("threads", "1"), ("min_seconds", "0.01"), ("dims.image", "2,1,8,8")), ("model", output));
        Assert.Equal("2x1x8x8", measured.Result.Settings["input.image"]);
        Assert.True(measured.Result.Measurements.Single(m => m.Metric == "latency").Samples.Length >= 100);
        Assert.All(measured.Result.Measurements, m => Assert.NotNull(Core.Measurements.Metrics.Find(m.Metric)));

        var evaluated = Run(
            JobKind.Evaluate, "CompareOutputs", Parameters(("labels", "label")), ("model", output), ("baseline", TestFiles.Digits), ("data", TestFiles.DigitsTest));
        Assert.All(evaluated.Result.Measurements, m => Assert.NotNull(Core.Measurements.Metrics.Find(m.Metric)));
        Assert.True(evaluated.Result.Measurements.Single(m => m.Metric == "accuracy").Samples[0] > 0.98);
    }

    [Fact]
    public void A_pass_without_samples_takes_the_declared_shapes()
    {
        var made = Run(JobKind.Optimize, "OnnxStaticQuantization", Parameters(("dims.image", "3,1,8,8")), ("model", TestFiles.Digits));
        Assert.Equal(["synthetic_input"], made.Result.Flags);

        var failure = Try(JobKind.Optimize, "OnnxStaticQuantization", Parameters(("dims.image", "3,1,9,8")), "cpu", ("model", TestFiles.Digits)).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains("the declared [3, 1, 9, 8] does not fit", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pass_hands_the_models_tokenizer_on()
    {
        Directory.CreateDirectory(_directory["source"]);
        File.Copy(TestFiles.Digits, _directory["source/digits.onnx"]);
        File.WriteAllText(_directory["source/tokenizer.json"], "{}");
        var made = Run(JobKind.Optimize, "OnnxDynamicQuantization", Parameters(("op_types_to_quantize", "Gemm,Conv")), ("model", _directory["source"]));
        Assert.Equal("model", made.Outputs.Single().FileName);
        Assert.Equal(["model.onnx", "tokenizer.json"], Directory.GetFiles(_directory["model"]).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_it_cannot_do_is_unsupported_and_what_is_broken_invalid()
    {
        Assert.Equal(FailureType.Unsupported, Try(JobKind.Evaluate, "Perplexity", Parameters(), "cpu", ("model", TestFiles.Digits)).Failure!.Type);
        Assert.Equal(FailureType.Unsupported, Try(JobKind.Benchmark, "Benchmark", Parameters(), "cuda:0", ("model", TestFiles.Digits)).Failure!.Type);
        File.WriteAllText(_directory["text.onnx"], "just text");
        Assert.Equal(FailureType.InvalidInput, Try(JobKind.Optimize, "OnnxDynamicQuantization", Parameters(), "cpu", ("model", _directory["text.onnx"])).Failure!.Type);
        Assert.Equal(FailureType.InvalidInput, Try(JobKind.Benchmark, "Benchmark", Parameters(("dims.image", "1,-1,8,8")), "cpu", ("model", TestFiles.Digits)).Failure!.Type);
    }

    public void Dispose() => _directory.Dispose();

    private static ImmutableSortedDictionary<string, string> Parameters(params (string Key, string Value)[] values) =>
        values.ToImmutableSortedDictionary(v => v.Key, v => v.Value, StringComparer.Ordinal);

    private EngineResult Run(JobKind kind, string operation, ImmutableSortedDictionary<string, string> parameters, params (string Name, string Path)[] inputs)
    {
        var outcome = Try(kind, operation, parameters, "cpu", inputs);
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value;
    }

    private Outcome<EngineResult> Try(JobKind kind, string operation, ImmutableSortedDictionary<string, string> parameters, string device, params (string Name, string Path)[] inputs) =>
        _engine.Run(
            new JobContext
            {
                Kind = kind,
                Operation = operation,
                Parameters = parameters,
                Inputs = inputs.ToImmutableSortedDictionary(
                    i => i.Name, i => new InputFile(i.Path, new ArtifactRef(default, ArtifactKind.File, File.Exists(i.Path) ? new FileInfo(i.Path).Length : 0, FormatNames.Onnx, Path.GetFileName(i.Path))), StringComparer.Ordinal),
                OutputDirectory = _directory.Root,
                DeviceId = device,
                AutoThreads = 1,
                Progress = (_, _) => { },
                Log = _ => { },
            },
            CancellationToken.None);
}
