using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles;
using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Server.Tests.SweepFiles;

public sealed class SweepFileGoodTests
{
    /// <summary>The example of the public contract, word by word.</summary>
    internal const string Example = """
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: tiny, labels: {commit: 1a2b3c}}
        spec:
          models:
            - {id: edgefarm-tiny, source: bundled:edgefarm-tiny}
            - {id: ocr-rec, source: bundled:ppocr-v4-rec, dims: {x: [1, 3, 48, 320]}}     # shapes of dynamic inputs
          data:                                                 # named data sets
            - {id: held-out, source: bundled:held-out}
            - {id: digits-test, source: file:digits/test.npz, labels: label}
          recipes:
            - {toolchain: llama.cpp, types: [F16, Q8_0, Q4_K_M], models: [edgefarm-tiny]}  # one form each
            - {toolchain: onnxruntime, types: [fp32, dynamic-int8]}
            - toolchain: onnxruntime                            # a chain of passes; lists of parameter values expand to their product
              name: int4
              passes:
                - {type: OnnxMatMulNBits, bits: 4, block_size: [32, 128]}
          targets:
            - {id: linux-x64, require: {os: linux, arch: x64}, devices: one}               # one | each | N
          benchmark: {prompt: 512, generate: 128, repetitions: 5, warmup: auto, threads: auto}
          quality: {text: held-out, context: 512, chunks: 20, on: any}     # any worker, once | target: on each device
        """;

    [Fact]
    public void The_contracts_example_is_read()
    {
        var spec = Good(Example);

        Assert.Equal("tiny", spec.Name);
        Assert.Equal("1a2b3c", spec.Labels["commit"]);
        Assert.Equal("edgefarm-tiny ocr-rec", string.Join(' ', spec.Models.Select(m => m.Id)));
        Assert.Equal("1 3 48 320", string.Join(' ', spec.Models[1].Dims["x"]));
        Assert.Equal(new DataSetSpec("digits-test", "file:digits/test.npz", "label"), spec.Data[1]);
        Assert.Equal("F16 Q8_0 Q4_K_M", string.Join(' ', spec.Recipes[0].Types));
        Assert.Equal("edgefarm-tiny", string.Join(' ', spec.Recipes[0].Models));
        Assert.Equal("int4", spec.Recipes[2].Name);
        Assert.Equal("32 128", string.Join(' ', spec.Recipes[2].Passes[0].Parameters["block_size"]));
        Assert.Equal("4", string.Join(' ', spec.Recipes[2].Passes[0].Parameters["bits"]));
        Assert.Equal("linux", spec.Targets[0].Require["os"]);
        Assert.Equal(1, spec.Targets[0].Devices);
        Assert.Equal("auto", spec.Benchmark["threads"]);
        Assert.Equal("128", spec.Benchmark["generate"]);
        var quality = Assert.Single(spec.Quality);
        Assert.Equal("held-out", quality.Text);
        Assert.False(quality.OnTarget);
        Assert.Equal("20", quality.Parameters["chunks"]);
        Assert.DoesNotContain("text", quality.Parameters.Keys);
    }

    [Fact]
    public void Only_models_and_recipes_are_required()
    {
        var spec = Good("spec: {models: [{id: m, source: 'file:m.gguf'}], recipes: [{toolchain: llama.cpp, types: [q4_k_m]}]}");

        Assert.Equal("sweep", spec.Name);
        Assert.Equal("Q4_K_M", string.Join(' ', spec.Recipes[0].Types));
        Assert.Empty(spec.Targets);
        Assert.Empty(spec.Benchmark);
        Assert.Empty(spec.Quality);
    }

    [Fact]
    public void Quality_is_one_mapping_or_a_list_for_different_models()
    {
        var spec = Good("""
            spec:
              models: [{id: a, source: bundled:a}, {id: b, source: bundled:b}]
              data: [{id: t, source: bundled:t}, {id: d, source: bundled:d, labels: y}]
              recipes: [{toolchain: llama.cpp, types: [F16]}]
              quality:
                - {text: t, models: [a]}
                - {data: d, models: [b], on: target}
            """);

        Assert.Equal("a", string.Join(' ', spec.Quality[0].Models));
        Assert.Equal("d", spec.Quality[1].Data);
        Assert.True(spec.Quality[1].OnTarget);
    }

    [Fact]
    public void Calibration_limits_and_lists_of_quality_parameters_are_read()
    {
        var spec = Good("""
            spec:
              models: [{id: a, source: bundled:a}]
              data: [{id: t, source: bundled:t}]
              recipes: [{toolchain: llama.cpp, types: [F16], calibration: t}]
              limits: {size: 2GiB}
              quality: {text: t, context: [128, 512], chunks: 4}
            """);

        Assert.Equal("t", spec.Recipes[0].Calibration);
        Assert.Equal(new SweepLimits(2L << 30, null), spec.Limits);
        Assert.Equal(("128,512", "4"), (spec.Quality[0].Parameters["context"], spec.Quality[0].Parameters["chunks"]));
    }

    [Theory]
    [InlineData("limits: {size: much}", "expected bytes such as 2GiB, found 'much'")]
    [InlineData("limits: {memory: -3}", "expected bytes such as 2GiB, found '-3'")]
    public void A_limit_that_is_no_size_is_an_error(string limits, string message)
    {
        var file = SweepFile.Parse($"spec: {{models: [{{id: a, source: 'bundled:a'}}], recipes: [{{toolchain: llama.cpp, types: [F16]}}], {limits}}}", TestCatalog.Value);

        Assert.Contains(message, Assert.Single(file.Errors).ToLine("s.yaml"), StringComparison.Ordinal);
    }

    [Fact]
    public void Targets_take_each_numbers_and_sets()
    {
        var spec = Good("""
            spec:
              models: [{id: a, source: bundled:a}]
              recipes: [{toolchain: llama.cpp, types: [F16], on: [big]}]
              targets:
                - {id: all, devices: each}
                - {id: big, devices: 3, require: {memory.total: 16GiB, cpu.features: [avx2, avx512f], label.rack: 7}}
            """);

        Assert.Equal(0, spec.Targets[0].Devices);
        Assert.Equal(3, spec.Targets[1].Devices);
        Assert.Equal("avx2,avx512f", spec.Targets[1].Require["cpu.features"]);
        Assert.Equal("7", spec.Targets[1].Require["label.rack"]);
        Assert.Equal("big", string.Join(' ', spec.Recipes[0].On));
    }

    [Fact]
    public void Numbers_become_canonical_text()
    {
        var spec = Good("""
            spec:
              models: [{id: a, source: bundled:a}]
              recipes: [{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, bits: +4, ratio: [0.50, 1e-1]}]}]
            """);

        Assert.Equal("4", string.Join(' ', spec.Recipes[0].Passes[0].Parameters["bits"]));
        Assert.Equal("0.5 0.1", string.Join(' ', spec.Recipes[0].Passes[0].Parameters["ratio"]));
    }

    [Fact]
    public void An_error_of_the_planner_finds_its_line()
    {
        var file = SweepFile.Parse(Example, TestCatalog.Value);

        var error = file.ErrorAt("recipes[2].passes[0].block_size", "is too large for this model");
        Assert.Equal("s.yaml:17:56: spec.recipes[2].passes[0].block_size: is too large for this model", error.ToLine("s.yaml"));
        Assert.Equal(14, file.Locate("spec.recipes[2].nonsense").Line);
    }

    private static SweepSpec Good(string yaml)
    {
        var file = SweepFile.Parse(yaml, TestCatalog.Value);
        Assert.Equal([], file.Errors.Select(e => e.ToLine("s.yaml")));
        return file.Spec!;
    }
}
