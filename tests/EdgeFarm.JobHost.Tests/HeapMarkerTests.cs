using System.Security.Cryptography;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.JobHost.Tests;

/// <summary>
/// CVE-2026-7482 was a quantizer that copied what lay in its heap into the model that it wrote. Here every block that C's heap hands out
/// is filled with a marker (glibc's MALLOC_PERTURB_), the environment holds another, and neither is in any artifact; and what the heap
/// holds changes no byte of it.
/// </summary>
public sealed class HeapMarkerTests
{
    private const string Engine = "llama.cpp", Secret = "EDGEFARM-TEST-SECRET-8b1c6f";

    // glibc fills a new block with the complement of the number, and a freed one, which may be handed out again, with the number.
    private const byte Perturb = 0x5A, OtherPerturb = 0xC6;

    [SkippableFact]
    public async Task What_is_in_heap_and_environment_is_in_no_artifact()
    {
        await RequireMarkedHeapAsync(Perturb);
        var text = RealChild.Shared("models/edgefarm-tiny/eval.txt");

        var first = await ArtifactsAsync(text, Perturb);
        var second = await ArtifactsAsync(text, OtherPerturb);

        Assert.Equal(["imatrix.gguf", "iq3_xxs.gguf", "logits", "pruned.gguf", "q4_k_m.gguf"], first.Keys.Order(StringComparer.Ordinal));
        foreach (var (name, bytes) in first)
        {
            Assert.All(Markers(Perturb, 24), marker => Assert.True(bytes.AsSpan().IndexOf(marker) < 0, $"{name} holds what was in the heap"));
            Assert.True(bytes.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(Secret)) < 0, $"{name} holds what was in the environment");
            Assert.Equal(SHA256.HashData(bytes), SHA256.HashData(second[name]));
        }
    }

    [SkippableFact]
    public async Task A_tensor_that_claims_more_data_than_the_file_has_is_refused_and_leaves_nothing()
    {
        using var child = Marked(Perturb);
        var whole = await File.ReadAllBytesAsync(RealChild.TinyModel);
        string[] files =
        [
            child.Write("short.gguf", whole.AsSpan(0, whole.Length - 4096)),
            Path.Combine(Repository.Root, "tests", "EdgeFarm.ModelFormats.Tests", "Data", "GgufCorpus", "cve-2026-7482-data-short.gguf"),
        ];
        foreach (var file in files)
        {
            var run = await child.RunAsync(Engine, JobKind.Optimize, "GgufQuantization", [("model", file)], [("ftype", "Q8_0")]);

            Assert.Equal(FailureType.InvalidInput, run.Failure!.Type);
            Assert.Empty(Directory.EnumerateFileSystemEntries(child.Output));
        }
    }

    private static async Task<SortedDictionary<string, byte[]>> ArtifactsAsync(string text, byte perturb)
    {
        using var child = Marked(perturb);
        var model = RealChild.TinyModel;
        await MakeAsync(JobKind.Optimize, "GgufImportanceMatrix", [("model", model), ("calibration", text)], [("chunks", "1")]);
        var matrix = Path.Combine(child.Output, "imatrix.gguf");
        await MakeAsync(JobKind.Evaluate, "Perplexity", [("model", model), ("text", text)], [("chunks", "1"), ("save_logits", "true")]);
        await QuantizeAsync("q4_k_m.gguf", [("model", model)], [("ftype", "Q4_K_M")]);
        await QuantizeAsync("iq3_xxs.gguf", [("model", model), ("imatrix", matrix)], [("ftype", "IQ3_XXS")]);
        await QuantizeAsync("pruned.gguf", [("model", model)], [("ftype", "Q5_0"), ("prune_layers", "2"), ("tensor_type", "attn_v=q8_0")]);
        return new(Directory.GetFiles(child.Output).ToDictionary(file => Path.GetFileName(file), File.ReadAllBytes), StringComparer.Ordinal);

        async Task QuantizeAsync(string name, (string, string)[] inputs, (string, string)[] parameters)
        {
            await MakeAsync(JobKind.Optimize, "GgufQuantization", inputs, parameters);
            File.Move(Path.Combine(child.Output, "model.gguf"), Path.Combine(child.Output, name));
        }

        async Task MakeAsync(JobKind kind, string operation, (string, string)[] inputs, (string, string)[] parameters)
        {
            var run = await child.RunAsync(Engine, kind, operation, inputs, parameters);
            Assert.True(run.Failure is null, run.Failure?.ToString());
        }
    }

    // A marker that is not there would be found nowhere.
    private static async Task RequireMarkedHeapAsync(byte perturb)
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "the heap is marked by glibc");
        var command = JobHostCommand.Of(Path.Combine(AppContext.BaseDirectory, "EdgeFarm.JobHost.TestHost.dll"));
        using var child = new RealChild(command, Environment(perturb));
        var run = await child.RunAsync("hostile", JobKind.Optimize, "Heap", [], []);
        Assert.Null(run.Failure);
        var markers = Markers(perturb, 32).Select(Convert.ToHexStringLower).ToHashSet();
        var unmarked = run.Result!.Result.Settings.Where(block => !markers.Contains(block.Value)).ToList();
        Skip.If(unmarked.Count > 0, $"this system's heap does not know MALLOC_PERTURB_ (glibc does): {string.Join(", ", unmarked)}");
    }

    private static byte[][] Markers(byte perturb, int length) => [[.. Enumerable.Repeat(unchecked((byte)~perturb), length)], [.. Enumerable.Repeat(perturb, length)]];

    private static RealChild Marked(byte perturb) => new(Environment(perturb));

    private static (string, string?)[] Environment(byte perturb) =>
    [
        ("MALLOC_PERTURB_", perturb.ToString(System.Globalization.CultureInfo.InvariantCulture)),

        // Blocks from the threads' caches would not be filled.
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
        .. Enumerable.Range(0, 200).Select(i => ($"EDGEFARM_TEST_{i}", (string?)string.Concat(Enumerable.Repeat(Secret, 20)))),
    ];
}
