using System.Collections.Immutable;
using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

/// <summary>Jobs as the job host hands them over.</summary>
public sealed class EngineTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly LlamaCppEngine _engine = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_descriptor_names_every_form_with_resolved_steps_and_is_the_shipped_build()
    {
        var descriptor = LlamaCppDescriptor.Value;

        Assert.NotNull(descriptor.FindForm("q4_k_m"));
        Assert.Equal(descriptor.BaselineForm, descriptor.FindForm(descriptor.BaselineForm)!.Name);
        Assert.Equal(descriptor.Forms.Length, descriptor.Forms.Select(form => form.Name).Distinct().Count());
        foreach (var step in descriptor.Forms.SelectMany(form => form.Steps))
        {
            var pass = descriptor.FindPass(step.Type)!;
            Assert.All(step.Parameters.Keys, name => Assert.Contains(pass.Parameters, parameter => parameter.Name == name));
            Assert.All(pass.Parameters.Where(parameter => parameter.Default is not null), parameter => Assert.True(step.Parameters.ContainsKey(parameter.Name)));
        }

        var probe = _engine.Probe(CancellationToken.None).Value;
        Assert.Equal(descriptor.Identity, probe.Toolchain!.Identity);
        Assert.Equal(descriptor.Identity, probe.Runtime!.Identity);
        Assert.Contains("cpu", probe.Runtime.Devices);
    }

    [Fact]
    public void A_form_is_made_measured_and_evaluated()
    {
        var step = LlamaCppDescriptor.Value.FindForm("Q4_K_M")!.Steps.Single();
        var made = Run(JobKind.Optimize, step.Type, step.Parameters, ("model", TestData.Model));

        var output = Assert.Single(made.Outputs);
        Assert.Equal(("model", "gguf", null), (output.Name, output.Format, output.SameAsInput));
        var model = _folder[output.FileName];
        Assert.Equal(3783840, new FileInfo(model).Length);
        using var report = JsonDocument.Parse(made.Result.Report);
        Assert.Equal(5.25, report.RootElement.GetProperty("bits_per_weight").GetDouble(), 0.01);
        Assert.Equal(LlamaCppDescriptor.Identity, made.Result.Engine);

        var measured = Run(JobKind.Benchmark, "Benchmark", Parameters(("prompt", "32"), ("generate", "4"), ("repetitions", "2"), ("threads", "1"), ("warmup", "auto")), ("model", model));
        Assert.Equal(LlamaCppDescriptor.Value.Runtime!.BenchmarkMetrics.Remove("device_memory").Order(), measured.Result.Measurements.Select(measurement => measurement.Metric).Order());
        Assert.Equal("1", measured.Result.Settings["n_threads"]);
        Assert.NotEmpty(measured.Result.LibraryVariant);

        var evaluated = Run(JobKind.Evaluate, "Perplexity", Parameters(("chunks", "1"), ("save_logits", "true")), ("model", TestData.Model), ("text", TestData.HeldOut));
        var perplexity = Assert.Single(evaluated.Result.Measurements);
        Assert.InRange(perplexity.Samples.Single(), 10, 60);
        Assert.True(perplexity.StandardError > 0);

        var compared = Run(JobKind.Evaluate, "Perplexity", Parameters(), ("model", model), ("logits", _folder["logits"]));
        Assert.Equal(LlamaCppDescriptor.Value.Runtime.Evaluations.Single().Metrics, compared.Result.Measurements.Select(measurement => measurement.Metric));
        var figures = compared.Result.Measurements.ToDictionary(measurement => measurement.Metric, measurement => measurement.Samples.Single());
        Assert.True(figures["kld_p50"] < figures["kld_p90"] && figures["kld_p95"] < figures["kld_p99"] && figures["kld_p999"] <= figures["kld_max"]);
    }

    [Fact]
    public void A_checkpoint_directory_becomes_the_cards_file()
    {
        var made = Run(JobKind.Optimize, LlamaCppDescriptor.ConversionPass, Parameters(("outtype", "auto"), ("strict", "true")), ("model", TestData.Checkpoint));

        Assert.Equal(("model", "gguf", null), (made.Outputs.Single().Name, made.Outputs.Single().Format, made.Outputs.Single().SameAsInput));
        using var stream = File.OpenRead(_folder[made.Outputs.Single().FileName]);
        Assert.Equal("9abb7d367273542b766a4b4d95e8242e5ce01e3694d52d24bc759ade95579940", Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(stream)));
        using var report = JsonDocument.Parse(made.Result.Report);
        Assert.Equal((5770496, "half"), (report.RootElement.GetProperty("parameters").GetInt64(), report.RootElement.GetProperty("precision_class").GetString()));
        Assert.Empty(made.Result.Warnings);
    }

    [Fact]
    public void What_llama_cpp_computes_otherwise_is_a_warning_with_its_code_and_strict_refuses_it()
    {
        var checkpoint = Directory.CreateDirectory(_folder["windowed"]).FullName;
        foreach (var file in Directory.GetFiles(TestData.Checkpoint))
        {
            File.Copy(file, Path.Combine(checkpoint, Path.GetFileName(file)));
        }

        var config = Path.Combine(checkpoint, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"silu\"", "\"gelu\"", StringComparison.Ordinal));

        var made = Run(JobKind.Optimize, LlamaCppDescriptor.ConversionPass, Parameters(("outtype", "q8_0")), ("model", checkpoint));
        var strict = _engine.Run(Job(JobKind.Optimize, LlamaCppDescriptor.ConversionPass, Parameters(("strict", "true")), ("model", checkpoint)), CancellationToken.None);

        using var report = JsonDocument.Parse(made.Result.Report);
        var warning = report.RootElement.GetProperty("warnings").EnumerateArray().Single();
        Assert.Equal(("ActivationIgnored", true), (warning.GetProperty("code").GetString(), warning.GetProperty("computes_differently").GetBoolean()));
        Assert.Equal(warning.GetProperty("message").GetString(), Assert.Single(made.Result.Warnings));
        Assert.Equal(FailureType.Unsupported, strict.Failure!.Type);
    }

    [Fact]
    public void An_importance_matrix_is_an_output_that_forms_take()
    {
        var matrix = Run(JobKind.Optimize, LlamaCppDescriptor.ImportanceMatrixPass, Parameters(("chunks", "2")), ("model", TestData.Model), ("calibration", TestData.HeldOut));

        Assert.Equal("imatrix", Assert.Single(matrix.Outputs).Name);
        Run(JobKind.Optimize, LlamaCppDescriptor.QuantizationPass, Parameters(("ftype", "Q2_K_S")), ("model", TestData.Model), ("imatrix", _folder["imatrix.gguf"]));
        Assert.Equal(["imatrix.gguf", "model.gguf"], _folder.Files);
    }

    [Fact]
    public void The_form_that_the_source_already_is_is_the_source()
    {
        var made = Run(JobKind.Optimize, LlamaCppDescriptor.QuantizationPass, Parameters(("ftype", "F16")), ("model", TestData.Model));

        Assert.Equal("model", Assert.Single(made.Outputs).SameAsInput);
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void Parameters_of_the_pass_reach_the_quantizer()
    {
        var made = Run(
            JobKind.Optimize,
            LlamaCppDescriptor.QuantizationPass,
            Parameters(("ftype", "Q4_0"), ("pure", "true"), ("tensor_type", "attn_v=q8_0 ffn_(up|gate)=q5_0"), ("prune_layers", "1,2"), ("token_embedding_type", "f16")),
            ("model", TestData.Model));

        using var report = JsonDocument.Parse(made.Result.Report);
        var types = report.RootElement.GetProperty("types");
        Assert.Equal(4, types.GetProperty("Q8_0").GetInt32());
        Assert.Equal(8, types.GetProperty("Q5_0").GetInt32());
        Assert.Equal(1, types.GetProperty("F16").GetInt32());
    }

    [Theory]
    [InlineData(JobKind.Optimize, "Sharpen", FailureType.Unsupported)]
    [InlineData(JobKind.Optimize, "GgufQuantization", FailureType.InvalidInput)]
    [InlineData(JobKind.Evaluate, "Perplexity", FailureType.Internal)]
    public void A_job_that_cannot_be_done_fails_with_its_type(JobKind kind, string operation, FailureType type)
    {
        var outcome = _engine.Run(Job(kind, operation, Parameters(("ftype", "Q4_Z")), ("model", TestData.Model)), CancellationToken.None);

        Assert.Equal(type, outcome.Failure!.Type);
    }

    [Theory]
    [InlineData("threads", "many")]
    [InlineData("flash_attn", "2")]
    [InlineData("generate", "1.5")]
    public void A_parameter_that_is_no_value_is_named(string name, string value)
    {
        var failure = _engine.Run(Job(JobKind.Benchmark, "Benchmark", Parameters((name, value)), ("model", TestData.Model)), CancellationToken.None).Failure;

        Assert.Equal(FailureType.InvalidInput, failure!.Type);
        Assert.Contains(name, failure.Message, StringComparison.Ordinal);
    }

    private EngineResult Run(JobKind kind, string operation, ImmutableSortedDictionary<string, string> parameters, params (string Name, string Path)[] inputs)
    {
        var outcome = _engine.Run(Job(kind, operation, parameters, inputs), CancellationToken.None);
        Assert.True(outcome.IsOk, $"{outcome.Failure}\n{outcome.Failure?.LogTail}");
        return outcome.Value;
    }

    private JobContext Job(JobKind kind, string operation, ImmutableSortedDictionary<string, string> parameters, params (string Name, string Path)[] inputs) => new()
    {
        Kind = kind,
        Operation = operation,
        Parameters = parameters,
        Inputs = inputs.ToImmutableSortedDictionary(
            input => input.Name,
            input => new InputFile(input.Path, new ArtifactRef(Digest.OfText(input.Path), ArtifactKind.File, 0, "gguf", Path.GetFileName(input.Path)))),
        OutputDirectory = _folder[""],
        DeviceId = "cpu",
        AutoThreads = 1,
        Progress = (_, _) => { },
        Log = _ => { },
    };

    private static ImmutableSortedDictionary<string, string> Parameters(params (string Name, string Value)[] parameters) =>
        parameters.ToImmutableSortedDictionary(parameter => parameter.Name, parameter => parameter.Value, StringComparer.Ordinal);
}
