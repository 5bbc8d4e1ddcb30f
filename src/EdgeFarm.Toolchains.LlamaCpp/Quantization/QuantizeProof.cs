using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>
/// Reads a quantized file back as a stranger would: names, shapes and types against source and plan, the weights against the source's,
/// and a load in the runtime.
/// </summary>
internal static unsafe class QuantizeProof
{
    // Enough to see a tensor that holds something else, cheap for the largest model.
    private const long ComparedElements = 1 << 18;

    /// <summary>The tensors with their noise. Internal when the output does not hold what the plan says; InvalidInput when the source does not load either.</summary>
    public static IReadOnlyList<QuantizedTensor> Check(
        LlamaLibrary library, LlamaLog log, string input, QuantizeArguments arguments, QuantizePlan plan, string output, LlamaHooks hooks)
    {
        var read = GgufReader.Read(output);
        var result = read.IsOk ? read.Value : throw Broken($"it does not read back: {read.Failure!.Message}");
        if (result.Tensors.Count != plan.Tensors.Count)
        {
            throw Broken($"it has {result.Tensors.Count} tensors of {plan.Tensors.Count}");
        }

        if (result.Metadata["general.file_type"]?.AsInteger() != arguments.Type.Ftype)
        {
            throw Broken($"general.file_type is {result.Metadata["general.file_type"]}, not {arguments.Type.Ftype}");
        }

        using var before = File.OpenRead(input);
        using var after = File.OpenRead(output);
        var sources = arguments.Expected.ToDictionary(StringComparer.Ordinal);
        var tensors = new List<QuantizedTensor>();
        foreach (var planned in plan.Tensors)
        {
            hooks.Cancellation.ThrowIfCancellationRequested();
            hooks.Progress?.Invoke(new LlamaProgress("verify", (double)tensors.Count / plan.Tensors.Count, planned.Name));
            var source = sources[planned.Name];
            var written = result.Tensor(planned.Name) ?? throw Broken($"the tensor {planned.Name} is missing");
            if (written.Type != planned.Type || !written.Shape.SequenceEqual(source.Shape))
            {
                throw Broken($"{planned.Name} is {written.Type} [{string.Join(", ", written.Shape)}], not {planned.Type} [{string.Join(", ", source.Shape)}]");
            }

            var sqnr = Compare(library, before, arguments.Source.FileOffset(source), source, after, result.FileOffset(written), written);
            tensors.Add(planned with { SqnrDecibels = sqnr });
        }

        Load(library, log, input, output, hooks);
        return tensors;
    }

    private static void Load(LlamaLibrary library, LlamaLog log, string input, string output, LlamaHooks hooks)
    {
        try
        {
            LlamaModel.Load(library, log, output, new ModelPlacement(), hooks, checkTensors: true).Dispose();
        }
        catch (FailureException failure)
        {
            try
            {
                LlamaModel.Load(library, log, input, new ModelPlacement(), hooks).Dispose();
            }
            catch (FailureException source)
            {
                throw new FailureException(source.Failure with { Message = $"{source.Failure.Message}. It was quantized without an error, but the result cannot be used" });
            }

            throw Broken($"it does not load though its source does: {failure.Failure.Message}");
        }
    }

    /// <summary>Signal to noise of some rows, dB; null for an exact copy. Internal when it is below what the type can do.</summary>
    private static double? Compare(LlamaLibrary library, FileStream before, long beforeAt, GgufTensor source, FileStream after, long afterAt, GgufTensor written)
    {
        var columns = source.Shape[0];
        var rows = source.Elements / columns;
        var step = Math.Max(1, source.Elements / ComparedElements);
        double signal = 0, noise = 0;
        for (long row = 0; row < rows; row += step)
        {
            var expected = Row(library, before, beforeAt, source.Type, columns, row);
            var found = Row(library, after, afterAt, written.Type, columns, row);
            for (var i = 0; i < expected.Length; i++)
            {
                double error = expected[i] - found[i];
                signal += (double)expected[i] * expected[i];
                noise += error * error;
            }
        }

        if (source.Type == written.Type)
        {
            return noise == 0 ? null : throw Broken($"{source.Name} kept its type {source.Type} but not its values");
        }

        if (noise == 0)
        {
            return null;
        }

        var sqnr = 10 * Math.Log10(signal / noise);
        return sqnr >= Floor(written.Type)
            ? sqnr
            : throw Broken($"{source.Name} as {written.Type} has a signal to noise ratio of {sqnr:F1} dB; {Floor(written.Type)} dB is the least that a sound one shows");
    }

    private static float[] Row(LlamaLibrary library, FileStream file, long tensorAt, GgmlType type, long columns, long row)
    {
        var info = GgmlTypes.Get(type);
        var bytes = new byte[columns / info.BlockSize * info.BlockBytes];
        file.Position = tensorAt + (row * bytes.Length);
        file.ReadExactly(bytes);
        if (type == GgmlType.F32)
        {
            return MemoryMarshal.Cast<byte, float>(bytes).ToArray();
        }

        var values = new float[columns];
        var toFloat = library.Api.GetTypeTraits((int)type)->ToFloat;
        if (toFloat is not null)
        {
            fixed (byte* source = bytes)
            fixed (float* target = values)
            {
                toFloat(source, target, columns);
            }
        }

        return values;
    }

    // Weights of another tensor, or shifted by a block, give about -3 dB. Outliers and importance matrices lower a sound tensor's ratio, so
    // these are far below the usual (Q8_0 some 45 dB, Q4_K some 23 dB, IQ1_S some 5 dB).
    private static double Floor(GgmlType type) => GgmlTypes.Get(type).BitsPerWeight switch
    {
        >= 8 => 20,
        >= 6 => 15,
        >= 5 => 10,
        >= 4 => 7,
        >= 3 => 4,
        >= 2 => 1,
        _ => 0,
    };

    private static FailureException Broken(string reason) =>
        new(new Failure(FailureType.Internal, $"the quantized file did not stand the proof and was deleted: {reason}"));
}
