using System.Reflection;
using System.Text.Json;
using EdgeFarm.Server.SweepFiles;
using EdgeFarm.Server.SweepFiles.Schema;
using EdgeFarm.Server.Tests.Support;

namespace EdgeFarm.Server.Tests.SweepFiles;

/// <summary>The committed page and schema say what the parser does, because both come from its definition.</summary>
public sealed class SchemaDocsTests
{
    private const string Hint = "run EDGEFARM_UPDATE=1 dotnet test tests/EdgeFarm.Server.Tests and commit what it changed";

    private static readonly string Root =
        typeof(SchemaDocsTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    private static readonly bool Update = Environment.GetEnvironmentVariable("EDGEFARM_UPDATE") == "1";

    [Fact]
    public void The_reference_in_the_docs_is_current()
    {
        var path = Path.Combine(Root, "docs", "sweep-file.md");
        var page = File.ReadAllText(path);
        var current = ReferenceTable.Update(page, BuiltInToolchains.Catalog);
        if (Update)
        {
            File.WriteAllText(path, current);
        }

        Assert.True(Update || current == page, $"docs/sweep-file.md is behind the schema; {Hint}");
    }

    [Fact]
    public void The_committed_json_schema_is_current()
    {
        var path = Path.Combine(Root, "docs", "sweep.schema.json");
        var current = JsonSchemaWriter.Write(BuiltInToolchains.Catalog);
        if (Update)
        {
            File.WriteAllText(path, current);
        }

        Assert.True(Update || current == File.ReadAllText(path), $"docs/sweep.schema.json is behind the schema; {Hint}");
    }

    [Fact]
    public void The_json_schema_knows_forms_passes_and_parameters()
    {
        using var schema = JsonDocument.Parse(JsonSchemaWriter.Write(TestCatalog.Value));
        var recipe = schema.RootElement.GetProperty("properties").GetProperty("spec").GetProperty("properties").GetProperty("recipes").GetProperty("items");
        var llama = recipe.GetProperty("allOf")[0].GetProperty("then").GetProperty("properties");

        Assert.Equal("Q4_K_M", llama.GetProperty("types").GetProperty("items").GetProperty("enum")[2].GetString());
        Assert.Equal("""["toolchain"]""", recipe.GetProperty("required").GetRawText().Replace("\n", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal));
        Assert.False(schema.RootElement.GetProperty("properties").GetProperty("spec").GetProperty("properties").TryGetProperty("goals", out _));
    }

    [Fact]
    public void Examples_in_the_docs_are_good_sweep_files()
    {
        var page = File.ReadAllText(Path.Combine(Root, "docs", "sweep-file.md"));
        var blocks = page.Split("```yaml\n").Skip(1).Select(b => b[..b.IndexOf("```", StringComparison.Ordinal)]).ToArray();

        Assert.NotEmpty(blocks);
        Assert.All(blocks, b => Assert.Equal([], SweepFile.Parse(b, BuiltInToolchains.Catalog).Errors.Select(e => e.ToLine("example"))));
    }

    [Theory]
    [InlineData("sample.yaml", 13)]
    [InlineData("tiny-all.yaml", 34)]
    public void The_sample_sweeps_are_good_ones(string name, int types)
    {
        var file = SweepFile.Parse(File.ReadAllText(Path.Combine(Root, "src", "EdgeFarm.Samples", "sweeps", name)), BuiltInToolchains.Catalog);

        Assert.Equal([], file.Errors.Select(e => e.ToLine(name)));
        Assert.Equal(types, file.Spec!.Recipes.Sum(r => r.Types.Length * (r.Toolchain == "onnxruntime" ? 2 : 1)));
    }

    [Theory]
    [InlineData(SweepFileGoodTests.Example)]
    [InlineData("""
        spec:
          models: [{id: a, source: bundled:a}]
          data: [{id: t, source: bundled:t}]
          recipes: [{toolchain: llama.cpp, types: [Q4_K_M], calibration: t}]
          limits: {size: 1.5GiB, memory: 1000}
          quality: [{text: t, context: [128, 256], chunks: [2]}]
        """)]
    [InlineData("""
        metadata: {name: x, labels: {odd: 'a: "b" # {c}', number: '1e3', none: 'null', empty: '', smile: "😀"}}
        spec:
          models: [{id: a, source: 'file:with space/é.onnx', dims: {'in:put': [1, 2]}}]
          recipes: [{toolchain: onnxruntime, name: n, passes: [{type: OnnxMatMulNBits, ratio: 0.25, bits: [4, 8]}], on: [t]}]
          targets: [{id: t, devices: each, require: {memory.total: 16GiB, cpu.features: [avx2, fma]}}]
          benchmark: {threads: 4}
          quality: {on: target, models: [a]}
        """)]
    public void What_the_writer_writes_reads_back_the_same(string yaml)
    {
        var spec = SweepFile.Parse(yaml, TestCatalog.Value).Spec!;
        var written = SweepFileWriter.Write(spec);
        var again = SweepFile.Parse(written, TestCatalog.Value);

        Assert.Equal([], again.Errors.Select(e => e.ToLine(written)));
        Assert.Equal(JsonSerializer.Serialize(spec), JsonSerializer.Serialize(again.Spec));
    }
}
