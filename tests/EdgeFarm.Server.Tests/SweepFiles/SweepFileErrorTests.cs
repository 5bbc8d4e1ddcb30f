using System.Text;
using EdgeFarm.Server.SweepFiles;
using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Server.Tests.SweepFiles;

public sealed class SweepFileErrorTests
{
    private const string Models = "models: [{id: a, source: bundled:a}]";
    private const string Recipes = "recipes: [{toolchain: llama.cpp, types: [F16]}]";

    [Theory]
    [InlineData("spec: {modles: [], recipes: []}", "s.yaml:1:8: spec.modles: unknown key 'modles'; did you mean 'models'? Accepted: models, data, recipes, targets, benchmark, quality, limits")]
    [InlineData("apiVersion: edgefarm/v2", "s.yaml:1:13: apiVersion: unknown value 'edgefarm/v2'; did you mean 'edgefarm/v1'? Accepted: edgefarm/v1")]
    [InlineData("kind: Swep", "s.yaml:1:7: kind: unknown value 'Swep'; did you mean 'Sweep'? Accepted: Sweep")]
    [InlineData("kind: Sweep", "s.yaml:1:1: spec: 'spec' is missing: what to try, where, and how to measure")]
    [InlineData("[1, 2]", "s.yaml:1:1: expected a mapping, found a list")]
    [InlineData("spec: 7", "s.yaml:1:7: spec: expected a mapping, found '7'")]
    [InlineData("spec:", "s.yaml:1:6: spec: expected a mapping, found nothing")]
    [InlineData("metadata: {name: 'a b'}", "s.yaml:1:18: metadata.name: expected a name (letters, digits, '.', '-', '_', at most 64 characters), found the text 'a b'")]
    public void Whole_files(string yaml, string expected) => Assert.Contains(expected, Errors(yaml));

    [Theory]
    [InlineData("goals: [{}]", "s.yaml:4:3: spec.goals: 'goals' is reserved, not supported yet; remove it")]
    [InlineData("queueTimeout: 5m", "s.yaml:4:3: spec.queueTimeout: 'queueTimeout' is reserved, not supported yet; remove it")]
    [InlineData("benchmark: {promt: 5}", "s.yaml:4:15: spec.benchmark.promt: unknown key 'promt'; did you mean 'prompt'? Accepted: prompt, generate, repetitions, warmup, threads")]
    [InlineData("benchmark: {prompt: many}", "s.yaml:4:23: spec.benchmark.prompt: expected a whole number from 1 to 1000000, found 'many'")]
    [InlineData("benchmark: {prompt: 0}", "s.yaml:4:23: spec.benchmark.prompt: expected a whole number from 1 to 1000000, found '0'")]
    [InlineData("benchmark: {prompt: '5'}", "s.yaml:4:23: spec.benchmark.prompt: expected a whole number from 1 to 1000000, found the text '5'")]
    [InlineData("benchmark: {warmup: atuo}", "s.yaml:4:23: spec.benchmark.warmup: expected a whole number from 0 to 1000 or 'auto', found 'atuo'; did you mean 'auto'? Accepted: auto")]
    [InlineData("quality: {text: nowhere}", "s.yaml:4:19: spec.quality.text: there is no data set 'nowhere' in spec.data")]
    [InlineData("quality: {on: anny}", "s.yaml:4:17: spec.quality.on: unknown value 'anny'; did you mean 'any'? Accepted: any, target")]
    [InlineData("quality: [{models: [b]}]", "s.yaml:4:23: spec.quality[0].models[0]: there is no model 'b' in spec.models; did you mean 'a'? Accepted: a")]
    [InlineData("targets: [{id: t, require: {oss: linux}}]", "s.yaml:4:31: spec.targets[0].require.oss: unknown property 'oss'; did you mean 'os'?")]
    [InlineData("targets: [{id: t, require: {colour: red}}]", "s.yaml:4:31: spec.targets[0].require.colour: unknown property 'colour'; accepted: os, arch")]
    [InlineData("targets: [{id: t, require: {memory.total: lots}}]", "s.yaml:4:45: spec.targets[0].require.memory.total: expected a number such as 16GiB, found 'lots'")]
    [InlineData("targets: [{id: t, devices: all}]", "s.yaml:4:30: spec.targets[0].devices: expected a whole number from 1 to 1000 or 'one', 'each', found 'all'")]
    [InlineData("targets: [{id: t}, {id: t}]", "s.yaml:4:27: spec.targets[1].id: the id 't' stands already in line 4")]
    [InlineData("data: [{id: a, source: bundled:x}]", "s.yaml:4:15: spec.data[0].id: the id 'a' stands already in line 2")]
    [InlineData("data: [{id: d, source: 'https://x/y'}]", "s.yaml:4:26: spec.data[0].source: 'https:' sources are reserved, not supported yet; fetch it and use file:PATH")]
    [InlineData("data: [{id: d, source: x.npz}]", "s.yaml:4:26: spec.data[0].source: expected a source such as bundled:NAME, file:PATH, hf:ORG/NAME[@REVISION] or blob:sha256:DIGEST, found 'x.npz'")]
    [InlineData("data: [{id: d, source: hf:x}]", "s.yaml:4:26: spec.data[0].source: expected a source such as bundled:NAME, file:PATH, hf:ORG/NAME[@REVISION] or blob:sha256:DIGEST, found 'hf:x'")]
    [InlineData("data: [{id: d}]", "s.yaml:4:10: spec.data[0].source: 'source' is missing: where it comes from, as for models")]
    [InlineData("data: []", "s.yaml:4:9: spec.data: the list is empty; it needs at least 1 item")]
    public void Parts_of_a_spec(string part, string expected) =>
        Assert.Contains(Errors($"spec:\n  {Models}\n  {Recipes}\n  {part}"), e => e.StartsWith(expected, StringComparison.Ordinal));

    [Theory]
    [InlineData("{toolchain: lama.cpp, types: [F16]}", "s.yaml:3:26: spec.recipes[0].toolchain: unknown value 'lama.cpp'; did you mean 'llama.cpp'? Accepted: llama.cpp, onnxruntime")]
    [InlineData("{toolchain: llama.cpp, types: [Q4_K_N]}", "s.yaml:3:45: spec.recipes[0].types[0]: unknown value 'Q4_K_N'; did you mean 'Q4_K_M'? Accepted: F16, Q8_0, Q4_K_M")]
    [InlineData("{toolchain: llama.cpp, types: [fp32]}", "s.yaml:3:45: spec.recipes[0].types[0]: unknown value 'fp32'; accepted: F16, Q8_0, Q4_K_M")]
    [InlineData("{toolchain: llama.cpp, types: F16}", "s.yaml:3:44: spec.recipes[0].types: expected a list, found 'F16'")]
    [InlineData("{toolchain: llama.cpp}", "s.yaml:3:14: spec.recipes[0]: needs 'types' or 'passes'")]
    [InlineData("{toolchain: llama.cpp, types: [F16], passes: [{type: GgufQuantization, type_: x}]}", "s.yaml:3:14: spec.recipes[0]: has both 'types' and 'passes'; keep one of them")]
    [InlineData("{types: [F16]}", "s.yaml:3:14: spec.recipes[0].toolchain: 'toolchain' is missing: what makes the forms")]
    [InlineData("{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBit}]}", "s.yaml:3:55: spec.recipes[0].passes[0].type: unknown value 'OnnxMatMulNBit'; did you mean 'OnnxMatMulNBits'?")]
    [InlineData("{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, blocksize: 32}]}", "s.yaml:3:72: spec.recipes[0].passes[0].blocksize: unknown key 'blocksize'; did you mean 'block_size'? Accepted: type, bits, block_size, calibration, ratio")]
    [InlineData("{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, bits: [4, 9]}]}", "s.yaml:3:82: spec.recipes[0].passes[0].bits[1]: expected a whole number from 2 to 8, found '9'")]
    [InlineData("{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, ratio: .nan}]}", "s.yaml:3:79: spec.recipes[0].passes[0].ratio: expected a number from 0 to 1, found '.nan'")]
    [InlineData("{toolchain: onnxruntime, passes: [{type: OnnxMatMulNBits, calibration: c}]}", "s.yaml:3:85: spec.recipes[0].passes[0].calibration: there is no data set 'c' in spec.data")]
    [InlineData("{toolchain: llama.cpp, types: [F16], on: [x]}", "s.yaml:3:56: spec.recipes[0].on[0]: there is no target 'x' in spec.targets")]
    [InlineData("{toolchain: llama.cpp, types: [F16], target: 4GiB}", "s.yaml:3:51: spec.recipes[0].target: 'target' is reserved, not supported yet; remove it")]
    public void Recipes_of_a_spec(string recipe, string expected) =>
        Assert.Contains(Errors($"spec:\n  {Models}\n  recipes: [ {recipe} ]"), e => e.StartsWith(expected, StringComparison.Ordinal));

    [Fact]
    public void Several_errors_come_at_once_in_the_order_of_the_file()
    {
        var errors = Errors("""
            kind: Sweeep
            spec:
              models:
                - {id: a, sorce: bundled:a}
              recipes:
                - {toolchain: llama.cpp, types: [Q9]}
              benchmark: {threads: -1}
            """);

        Assert.Equal(
            [
                "s.yaml:1:7: kind: unknown value 'Sweeep'; did you mean 'Sweep'? Accepted: Sweep",
                "s.yaml:4:7: spec.models[0].source: 'source' is missing: where it comes from: bundled:NAME, file:PATH, hf:ORG/NAME[@REVISION], blob:sha256:DIGEST",
                "s.yaml:4:15: spec.models[0].sorce: unknown key 'sorce'; did you mean 'source'? Accepted: id, source, dims",
                "s.yaml:6:38: spec.recipes[0].types[0]: unknown value 'Q9'; accepted: F16, Q8_0, Q4_K_M",
                "s.yaml:7:24: spec.benchmark.threads: expected a whole number from 1 to 1024 or 'auto', found '-1'; accepted: auto",
            ],
            errors);
    }

    [Theory]
    [InlineData("", "s.yaml:1:1: the file is empty; it needs 'spec' with 'models' and 'recipes'")]
    [InlineData("a: [1, 2", "s.yaml:2:1: not valid YAML: ")]
    [InlineData("a: b: c", "s.yaml:1:5: not valid YAML: ")]
    [InlineData("spec: &x {a: 1}", "s.yaml:1:7: anchors and aliases (& and *) are not supported; write the value out")]
    [InlineData("spec: *x", "s.yaml:1:7: anchors and aliases (& and *) are not supported; write the value out")]
    [InlineData("spec: !!python/object {a: 1}", "s.yaml:1:7: tags (!) are not supported; write the value without it")]
    [InlineData("a: 1\n---\nb: 2", "s.yaml:2:1: a second document starts here; a sweep file holds one")]
    [InlineData("kind: Sweep\nkind: Sweep", "s.yaml:2:1: kind: the key stands twice, first in line 1")]
    [InlineData("[a]: 1", "s.yaml:1:1: a key of this mapping is no text")]
    public void Refused_yaml(string yaml, string expected) => Assert.Contains(Errors(yaml), e => e.StartsWith(expected, StringComparison.Ordinal));

    [Fact]
    public void A_bomb_of_aliases_is_refused_at_its_first_anchor()
    {
        var bomb = new StringBuilder("a0: &a0 [x]\n");
        for (var i = 1; i < 30; i++)
        {
            bomb.Append($"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n");
        }

        Assert.Equal(["s.yaml:1:5: anchors and aliases (& and *) are not supported; write the value out"], Errors(bomb.ToString()));
    }

    [Fact]
    public void Size_depth_and_number_of_values_are_bounded()
    {
        Assert.Equal([$"s.yaml: the file has {300_000} characters; at most {256 * 1024} are accepted"], Errors(new string('#', 300_000)));
        Assert.Equal(["s.yaml:1:17: nested more than 16 levels deep"], Errors(new string('[', 1000) + new string(']', 1000)));
        var many = Errors("a: [" + string.Join(",", Enumerable.Repeat("1", 30_000)) + "]");
        Assert.EndsWith("the file holds more than 20000 values; split it into several sweeps", Assert.Single(many), StringComparison.Ordinal);
        Assert.Contains("a value of 5000 characters; at most 4096 are accepted", Assert.Single(Errors("a: " + new string('x', 5000))), StringComparison.Ordinal);
    }

    [Fact]
    public void Errors_are_bounded()
    {
        var yaml = "spec:\n" + string.Concat(Enumerable.Range(0, 500).Select(i => $"  k{i}: 1\n"));
        Assert.Equal(SweepFile.MaxErrors, Errors(yaml).Length);
    }

    private static string[] Errors(string yaml)
    {
        var file = SweepFile.Parse(yaml, TestCatalog.Value);
        Assert.Null(file.Spec);
        return [.. file.Errors.Select(e => e.ToLine("s.yaml"))];
    }
}
