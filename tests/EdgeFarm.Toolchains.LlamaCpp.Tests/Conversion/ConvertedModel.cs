using System.Runtime.InteropServices;
using EdgeFarm.ModelFormats.Conversion;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Conversion;

/// <summary>Converts checkpoints of the reference and asks llama.cpp about the result.</summary>
internal static class ConvertedModel
{
    /// <summary>A path below the reference's folder in the test data, or a skipped test.</summary>
    public static string Reference(string relative)
    {
        var data = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(data), "EDGEFARM_TEST_DATA is not set");
        var path = Path.Combine(data!, "reference", "hf", relative);
        Skip.IfNot(Path.Exists(path), $"EDGEFARM_TEST_DATA has no reference/hf/{relative}");
        return path;
    }

    /// <summary>Converts a checkpoint to F32 in the folder.</summary>
    public static string Convert(string checkpoint, TemporaryFolder folder)
    {
        var output = folder["model.gguf"];
        var outcome = CheckpointConverter.Convert(new ConversionRequest(checkpoint, output, ConversionOutType.F32));
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        Assert.Null(GgufMetadataCheck.Read(output).Failure);
        return output;
    }

    /// <summary>The tokens of texts, special ones recognized.</summary>
    public static int[][] Tokenize(string path, IEnumerable<string> texts, bool addSpecial) => LlamaLibrary.Run(null, LlamaHooks.None, (library, log) =>
    {
        using var model = LlamaModel.Load(library, log, path, new ModelPlacement(), LlamaHooks.None);
        return texts.Select(text => model.Tokenize(System.Text.Encoding.UTF8.GetBytes(text), addSpecial, parseSpecial: true)).ToArray();
    }).Value;

    /// <summary>The logits of all tokens: one batch, one thread, F32 cache, no flash attention.</summary>
    public static float[][] Logits(string path, int[] tokens) => LlamaLibrary.Run(null, LlamaHooks.None, (library, log) =>
    {
        using var model = LlamaModel.Load(library, log, path, new ModelPlacement(), LlamaHooks.None);
        var length = tokens.Length <= 256 ? 256 : 512;
        var options = new ContextOptions { Ctx = length, Batch = length, Threads = 1, TypeK = GgmlType.F32, TypeV = GgmlType.F32, FlashAttention = 0 };
        using var context = new LlamaContext(library, log, model, options, default);
        return Decode(context, tokens, model.VocabSize);
    }).Value;

    private static unsafe float[][] Decode(LlamaContext context, int[] tokens, int vocabulary)
    {
        var batch = new LlamaBatch { Tokens = tokens.Length };
        int* sequence = stackalloc int[1];
        batch.Token = (int*)NativeMemory.Alloc((nuint)tokens.Length, sizeof(int));
        batch.Pos = (int*)NativeMemory.Alloc((nuint)tokens.Length, sizeof(int));
        batch.SeqCount = (int*)NativeMemory.Alloc((nuint)tokens.Length, sizeof(int));
        batch.SeqId = (int**)NativeMemory.Alloc((nuint)tokens.Length, (nuint)sizeof(int*));
        batch.Logits = (sbyte*)NativeMemory.Alloc((nuint)tokens.Length, sizeof(sbyte));
        try
        {
            for (var i = 0; i < tokens.Length; i++)
            {
                (batch.Token[i], batch.Pos[i], batch.SeqCount[i], batch.Logits[i]) = (tokens[i], i, 1, 1);
                batch.SeqId[i] = sequence;
            }

            context.Decode(batch);
            context.Synchronize();
            return [.. Enumerable.Range(0, tokens.Length).Select(i => new ReadOnlySpan<float>(context.Logits(i), vocabulary).ToArray())];
        }
        finally
        {
            NativeMemory.Free(batch.Token);
            NativeMemory.Free(batch.Pos);
            NativeMemory.Free(batch.SeqCount);
            NativeMemory.Free(batch.SeqId);
            NativeMemory.Free(batch.Logits);
        }
    }
}
