using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Quantization;

/// <summary>Parameters, progress and failures. In-process: a guard that fails to hold ends the test process by a signal.</summary>
public sealed class QuantizerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private QuantizeRequest Request(string type, string? input = null) => new(input ?? TestData.Model, _folder["out.gguf"], type);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_result_tells_size_bits_types_and_noise()
    {
        var progress = new List<LlamaProgress>();
        var lines = new List<string>();
        var result = LlamaQuantizer.Run(Request("q4_k"), new LlamaHooks((_, line) => lines.Add(line), progress.Add)).Value;

        Assert.Equal("Q4_K_M", result.Form);
        Assert.Equal("3-4", result.PrecisionClass);
        Assert.Equal(5770496, result.Parameters);
        Assert.Equal(5.25, result.BitsPerWeight, 0.01);
        var quantized = result.Tensors.Where(tensor => tensor.Type != tensor.SourceType).ToList();
        Assert.Contains(quantized, tensor => tensor.Type == GgmlType.Q6_K);
        Assert.All(quantized, tensor => Assert.InRange(tensor.SqnrDecibels!.Value, 18, 40));
        Assert.Contains(progress, step => step.Stage == "quantize" && step.Detail == "blk.0.attn_q.weight");
        Assert.All(progress, step => Assert.InRange(step.Fraction, 0, 1));
        Assert.Contains(lines, line => line.Contains("quant size", StringComparison.Ordinal));
    }

    [Fact]
    public void A_plan_tells_the_size_without_writing()
    {
        var plan = LlamaQuantizer.Plan(Request("Q2_K_S")).Value;

        Assert.True(plan.MissingImatrix);
        Assert.Equal(0, plan.FallbackTensors);
        Assert.Empty(_folder.Files);
        var sound = LlamaQuantizer.Plan(Request("Q4_K_M")).Value;
        Assert.False(sound.MissingImatrix);
        Assert.InRange(sound.OutputBytes, 3783840, 3783840 + 4096);
        Assert.Equal(LlamaQuantizer.Run(Request("Q4_K_M")).Value.Tensors.Select(tensor => tensor.Type), sound.Tensors.Select(tensor => tensor.Type));
    }

    [Fact]
    public void Every_type_plans_or_says_why_not()
    {
        foreach (var type in LlamaQuantTypes.All)
        {
            var plan = LlamaQuantizer.Plan(Request(type.Name)).Value;
            Assert.Equal(type.NeedsImatrix, plan.MissingImatrix);
            Assert.Contains(plan.Tensors, tensor => tensor.Type == type.DefaultType || type.Name == "MXFP4_MOE");
        }
    }

    [Fact]
    public void Overrides_pure_and_pruning_reach_the_file()
    {
        var result = LlamaQuantizer.Run(Request("Q4_0") with
        {
            Pure = true,
            TokenEmbeddingType = "Q8_0",
            TensorTypes = [new("ATTN_V", "q5_1"), new(@"blk\.0\.ffn_.*", "bf16")],
            PruneLayers = [4, 2, 4],
        }).Value;

        var file = GgufReader.Read(result.Output).Value;
        Assert.Equal(4, file.Metadata["llama.block_count"]!.AsInteger());
        Assert.Equal(GgmlType.Q8_0, file.Tensor("token_embd.weight")!.Type);
        Assert.Equal(GgmlType.Q5_1, file.Tensor("blk.3.attn_v.weight")!.Type);
        Assert.Equal(GgmlType.BF16, file.Tensor("blk.0.ffn_up.weight")!.Type);
        Assert.Equal(GgmlType.Q4_0, file.Tensor("blk.1.ffn_up.weight")!.Type);
        Assert.Null(file.Tensor("blk.4.attn_v.weight"));
    }

    [Fact]
    public void A_quantized_model_is_requantized_only_when_allowed()
    {
        var first = LlamaQuantizer.Run(Request("Q8_0") with { Output = _folder["q8.gguf"] }).Value.Output;

        Fails(FailureType.Unsupported, "allow requantizing", Request("Q4_0", first));
        Assert.True(LlamaQuantizer.Run(Request("Q4_0", first) with { AllowRequantize = true }).IsOk);
    }

    [Fact]
    public void A_type_that_needs_an_importance_matrix_says_so() => Fails(FailureType.InvalidInput, "needs an importance matrix", Request("IQ2_XS"));

    [Theory]
    [InlineData("Q4_Z", "no quantization type")]
    [InlineData("", "no quantization type")]
    public void An_unknown_type_is_refused(string type, string message) => Fails(FailureType.InvalidInput, message, Request(type));

    [Theory]
    [InlineData("i32")]
    [InlineData("q8_k")]
    [InlineData("q4_2")]
    [InlineData("43")]
    [InlineData("2")]
    public void A_type_that_would_abort_the_process_is_refused_as_override(string type)
    {
        Fails(FailureType.InvalidInput, "weights can have", Request("Q4_0") with { TensorTypes = [new("attn", type)] });
        Fails(FailureType.InvalidInput, "weights can have", Request("Q4_0") with { OutputTensorType = type });
        Fails(FailureType.InvalidInput, "weights can have", Request("Q4_0") with { TokenEmbeddingType = type });
    }

    [Fact]
    public void A_bad_pattern_is_invalid_input() =>
        Fails(FailureType.InvalidInput, "cannot quantize", Request("Q4_0") with { TensorTypes = [new("attn_(", "q8_0")] });

    [Fact]
    public void Pruning_takes_existing_layers_only()
    {
        Fails(FailureType.InvalidInput, "layers 0 to 5", Request("Q4_0") with { PruneLayers = [6] });
        Fails(FailureType.InvalidInput, "one must stay", Request("Q4_0") with { PruneLayers = [0, 1, 2, 3, 4, 5] });
    }

    [Fact]
    public void The_input_is_never_the_output()
    {
        var copy = _folder["copy.gguf"];
        File.Copy(TestData.Model, copy);
        var link = _folder["link.gguf"];
        File.CreateSymbolicLink(link, copy);

        Fails(FailureType.InvalidInput, "is the input itself", Request("Q4_0", copy) with { Output = copy });
        Fails(FailureType.InvalidInput, "is the input itself", Request("Q4_0", copy) with { Output = link });
        Fails(FailureType.InvalidInput, "is the input itself", Request("Q4_0", link) with { Output = copy });
    }

    [Fact]
    public void A_missing_directory_or_input_is_named()
    {
        Fails(FailureType.InvalidInput, "does not exist", Request("Q4_0") with { Output = _folder["no/out.gguf"] });
        Fails(FailureType.InvalidInput, "nowhere.gguf", Request("Q4_0", _folder["nowhere.gguf"]));
    }

    [Fact]
    public void A_truncated_file_is_invalid_input()
    {
        var cut = _folder["cut.gguf"];
        File.WriteAllBytes(cut, File.ReadAllBytes(TestData.Model)[..^1000]);

        Fails(FailureType.InvalidInput, "cut.gguf", Request("Q4_0", cut));
        File.WriteAllBytes(cut, File.ReadAllBytes(TestData.Model)[..5000]);
        Fails(FailureType.InvalidInput, "cut.gguf", Request("Q4_0", cut));
        File.WriteAllText(cut, "no model");
        Fails(FailureType.InvalidInput, "GGUF", Request("Q4_0", cut));
    }

    [Theory]
    [InlineData("llama.block_count", 100000u, "512 layers at most")]
    [InlineData("llama.block_count", 3u, "tensors of layer 5")]
    [InlineData("llama.block_count", 0u, "not a positive integer")]
    [InlineData("llama.attention.head_count", 0u, "not a positive integer")]
    public void Metadata_that_kills_the_library_or_breaks_the_model_is_invalid_input(string key, uint value, string message)
    {
        var broken = GgufFixture.Write(_folder["broken.gguf"], metadata => metadata.Set(key, GgufValue.Of(value)));

        Fails(FailureType.InvalidInput, message, Request("Q4_0", broken));
    }

    [Fact]
    public void An_unknown_architecture_is_unsupported()
    {
        var alien = GgufFixture.Write(_folder["alien.gguf"], metadata => metadata.Set("general.architecture", GgufValue.Of("alien")));

        Fails(FailureType.Unsupported, "unknown model architecture", Request("Q4_0", alien));
    }

    [Fact]
    public void A_model_that_cannot_be_loaded_is_quantized_into_nothing()
    {
        var lacking = GgufFixture.Write(_folder["lacking.gguf"], keep: tensor => tensor.Name != "blk.2.ffn_up.weight");

        Fails(FailureType.InvalidInput, "the result cannot be used", Request("Q4_0", lacking));
        Assert.Equal(["lacking.gguf"], _folder.Files);
    }

    [Fact]
    public void Weights_that_are_no_numbers_are_invalid_input()
    {
        var nan = GgufFixture.Write(_folder["nan.gguf"], data: (name, bytes) =>
        {
            if (name == "blk.1.ffn_down.weight")
            {
                MemoryMarshal.Cast<byte, Half>(bytes.AsSpan()).Fill(Half.NaN);
            }
        });

        Fails(FailureType.InvalidInput, "nan.gguf", Request("Q4_K_M", nan));
    }

    [Fact]
    public void An_importance_matrix_is_checked()
    {
        Fails(FailureType.InvalidInput, "nowhere.gguf", Request("Q4_0") with { Imatrix = _folder["nowhere.gguf"] });
        Fails(FailureType.InvalidInput, "not an importance matrix", Request("Q4_0") with { Imatrix = TestData.Model });
    }

    [Fact]
    public void A_cancelled_operation_says_so()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();

        var failure = LlamaQuantizer.Run(Request("Q4_0"), new LlamaHooks(Cancellation: source.Token)).Failure;

        Assert.Equal(FailureType.Cancelled, failure!.Type);
    }

    private void Fails(FailureType type, string message, QuantizeRequest request)
    {
        var outcome = LlamaQuantizer.Run(request);
        Assert.False(outcome.IsOk, "a failure was expected");
        Assert.Equal(type, outcome.Failure!.Type);
        Assert.Contains(message, outcome.Failure.Message, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(_folder.Files, file => file.EndsWith(".partial", StringComparison.Ordinal) || file == "out.gguf");
    }
}
