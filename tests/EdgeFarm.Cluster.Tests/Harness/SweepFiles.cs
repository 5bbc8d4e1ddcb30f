namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>Small sweeps over the bundled models; figures are not asserted, so few repetitions do.</summary>
internal static class SweepFiles
{
    public const string Quick = "benchmark: {prompt: 16, generate: 4, repetitions: 2, threads: 1}";

    /// <summary>Four forms of two toolchains, with quality.</summary>
    public const string FourForms = $$"""
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: four}
        spec:
          models:
            - {id: edgefarm-tiny, source: bundled:edgefarm-tiny}
            - {id: digits, source: bundled:digits}
          data:
            - {id: held-out, source: bundled:held-out}
            - {id: digits-test, source: bundled:digits-test, labels: label}
          recipes:
            - {toolchain: llama.cpp, types: [F16, Q4_K_M]}
            - {toolchain: onnxruntime, types: [fp32, dynamic-int8]}
          {{Quick}}
          quality:
            - {text: held-out, context: 512, chunks: 2, models: [edgefarm-tiny]}
            - {data: digits-test, models: [digits]}
        """;

    /// <summary>A form that is chosen by measuring, by name and as a chain.</summary>
    public const string Chosen = """
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: chosen}
        spec:
          models: [{id: digits, source: bundled:digits}]
          data: [{id: samples, source: bundled:digits-calibration}]
          recipes:
            - {toolchain: onnxruntime, types: [auto], calibration: samples}
            - toolchain: onnxruntime
              name: smallest
              passes: [{type: OnnxAutoOpt, objective: size, max_forms: 2, calibration: samples}]
          benchmark: {min_runs: 5, min_seconds: 0.1, threads: 1}
        """;

    /// <summary>One llama.cpp model from a file, some forms.</summary>
    public static string Llama(string source, string types, string name = "llama", string extra = "") => $$"""
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: {{name}}}
        spec:
          models: [{id: m, source: "{{source}}"}]
          recipes: [{toolchain: llama.cpp, types: [{{types}}]}]
          {{Quick}}
          {{extra}}
        """;

    /// <summary>One ONNX model from a file.</summary>
    public static string Onnx(string source, string name = "onnx") => $$"""
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: {{name}}}
        spec:
          models: [{id: m, source: "{{source}}"}]
          recipes: [{toolchain: onnxruntime, types: [fp32, dynamic-int8]}]
        """;
}
