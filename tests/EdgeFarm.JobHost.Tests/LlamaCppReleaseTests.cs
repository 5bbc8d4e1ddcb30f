using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.JobHost.Tests;

/// <summary>
/// llama.cpp 0.4.0, the newest release that macOS and Windows have packages of, on Linux: the layout of its structs is a table of its own,
/// and the library is one of the user's own by <c>EDGEFARM_LLAMA_LIB</c>.
/// </summary>
public sealed class LlamaCppReleaseTests : IDisposable
{
    private const string Engine = "llama.cpp";

    private RealChild? _child;

    public void Dispose() => _child?.Dispose();

    private RealChild Child => _child ??= new RealChild(("EDGEFARM_LLAMA_LIB", NpmPackages.Bins("llama-0.4.0", "linux-x64")));

    [SkippableFact]
    public async Task The_probe_names_the_release_and_the_library_of_the_users_own()
    {
        var run = await Child.ProbeAsync(Engine);

        Assert.Null(run.Failure);
        Assert.Equal("0.4.0", run.Probe!.Runtime!.Identity.Release);
        Assert.StartsWith("library:", run.Probe.Runtime.Identity.SourceCommit, StringComparison.Ordinal);
    }

    // 0.4.0 quantizes these types as 0.5.0 does: the card's digests are 0.5.0's.
    [SkippableTheory]
    [InlineData("Q8_0", null)]
    [InlineData("Q4_K_M", null)]
    [InlineData("IQ4_XS", null)]
    [InlineData("Q2_K_S", "imatrix.gguf")]
    [InlineData("IQ1_S", "imatrix.gguf")]
    public async Task A_form_has_the_bytes_of_the_card(string form, string? imatrix)
    {
        (string, string)[] inputs = imatrix is null
            ? [("model", RealChild.TinyModel)]
            : [("model", RealChild.TinyModel), ("imatrix", RealChild.Shared($"models/edgefarm-tiny/{imatrix}"))];

        var run = await Child.RunAsync(Engine, JobKind.Optimize, "GgufQuantization", inputs, [("ftype", form)]);

        Assert.Null(run.Failure);
        Assert.Equal("0.4.0", run.Result!.Result.Engine!.Release);
        using var card = JsonDocument.Parse(await File.ReadAllBytesAsync(RealChild.Shared("models/edgefarm-tiny/reference.json")));
        var expected = card.RootElement.GetProperty(imatrix is null ? form : $"{form}+imatrix");
        var file = Path.Combine(Child.Output, Assert.Single(run.Result.Outputs).FileName);
        var bytes = await File.ReadAllBytesAsync(file);
        Assert.Equal(expected.GetProperty("bytes").GetInt64(), bytes.Length);
        Assert.Equal(
            expected.GetProperty("tensor_data_sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan((int)GgufReader.Read(file).Value.DataOffset))));
    }

    [SkippableFact]
    public async Task A_model_is_measured_and_its_context_is_what_was_asked_for()
    {
        var run = await Child.RunAsync(
            Engine,
            JobKind.Benchmark,
            "Benchmark",
            [("model", RealChild.TinyModel)],
            [("prompt", "64"), ("generate", "8"), ("repetitions", "2"), ("warmup", "1"), ("n_batch", "32"), ("n_ubatch", "16"), ("type_k", "q8_0"), ("flash_attn", "on"), ("n_depth", "32")]);

        Assert.Null(run.Failure);
        Assert.Contains(run.Result!.Result.Measurements, m => m is { Metric: "pp", Samples.Length: 2 });
        Assert.Contains(run.Result.Result.Measurements, m => m is { Metric: "tg", Samples.Length: 2 });
        using var report = JsonDocument.Parse(run.Result.Result.Report);
        var context = report.RootElement.GetProperty("contexts")[0];
        Assert.Equal((32, 16), (context.GetProperty("n_batch").GetInt32(), context.GetProperty("n_ubatch").GetInt32()));
        Assert.Equal(("q8_0", "f16"), (context.GetProperty("type_k").GetString(), context.GetProperty("type_v").GetString()));
        Assert.True(context.GetProperty("flash_attn").GetBoolean());
        Assert.Equal((3 * 2) + 1, context.GetProperty("decode_calls").GetInt32());
    }

    [SkippableFact]
    public async Task Perplexity_divergence_and_importance_matrix_are_computed()
    {
        var text = RealChild.Shared("models/edgefarm-tiny/eval.txt");
        var model = RealChild.TinyModel;

        var matrix = await Child.RunAsync(Engine, JobKind.Optimize, "GgufImportanceMatrix", [("model", model), ("calibration", text)], [("chunks", "2")]);
        Assert.Null(matrix.Failure);
        var made = await Child.RunAsync(
            Engine, JobKind.Optimize, "GgufQuantization", [("model", model), ("imatrix", Path.Combine(Child.Output, "imatrix.gguf"))], [("ftype", "Q2_K")]);
        Assert.Null(made.Failure);
        var baseline = await Child.RunAsync(Engine, JobKind.Evaluate, "Perplexity", [("model", model), ("text", text)], [("chunks", "4"), ("save_logits", "true")]);
        Assert.Null(baseline.Failure);
        Assert.InRange(Value(baseline, "perplexity"), 15, 45);
        var compared = await Child.RunAsync(
            Engine, JobKind.Evaluate, "Perplexity", [("model", Path.Combine(Child.Output, "model.gguf")), ("logits", Path.Combine(Child.Output, "logits"))], []);

        Assert.Null(compared.Failure);
        Assert.InRange(Value(compared, "kld_mean"), 0.05, 0.3);
        Assert.InRange(Value(compared, "same_top"), 0.65, 0.95);
    }

    private static double Value(Toolchains.JobHosts.JobHostRun run, string metric) => run.Result!.Result.Measurements.Single(m => m.Metric == metric).Samples.Single();
}
