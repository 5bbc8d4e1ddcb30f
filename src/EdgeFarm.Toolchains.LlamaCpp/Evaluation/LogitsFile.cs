using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp.Evaluation;

/// <summary>
/// Logits of a text in llama-perplexity's format: "_logits_", context length, vocabulary size, number of chunks (32-bit), the chunks'
/// tokens (32-bit), then for each scored position a row of a scale and a least log-probability (32-bit floats, in the place of four
/// 16-bit numbers) and one 16-bit number per vocabulary entry, padded to an even count.
/// </summary>
internal static class LogitsFile
{
    // Log-probabilities more than this below the greatest are all stored as the least.
    private const float Range = 16;

    private static ReadOnlySpan<byte> Magic => "_logits_"u8;

    /// <summary>16-bit numbers of a row.</summary>
    public static int RowLength(int vocabulary) => (2 * ((vocabulary + 1) / 2)) + 4;

    public static void WriteHead(Stream stream, int contextLength, int vocabulary, int chunks, ReadOnlySpan<int> tokens)
    {
        stream.Write(Magic);
        stream.Write(MemoryMarshal.AsBytes<int>([contextLength, vocabulary, chunks]));
        stream.Write(MemoryMarshal.AsBytes(tokens));
    }

    /// <summary>Codes one row of logits and gives the negative log-likelihood of the right token as the reference rounds it.</summary>
    public static unsafe double EncodeRow(float* logits, int vocabulary, int token, Span<ushort> row)
    {
        var (most, least) = (logits[0], logits[0]);
        for (var i = 1; i < vocabulary; i++)
        {
            most = Math.Max(most, logits[i]);
            least = Math.Min(least, logits[i]);
        }

        least = Math.Max(least, most - Range);
        double sum = 0;
        for (var i = 0; i < vocabulary; i++)
        {
            sum += MathF.Exp(logits[i] - most);
        }

        var logSum = (float)Math.Log(sum);
        var scale = (most - least) / 65535f;
        MemoryMarshal.Write(MemoryMarshal.AsBytes(row), scale);
        MemoryMarshal.Write(MemoryMarshal.AsBytes(row[2..]), least - most - logSum);
        var codes = row[4..];
        if (scale != 0)
        {
            var inverse = 1 / scale;
            for (var i = 0; i < vocabulary; i++)
            {
                codes[i] = logits[i] > least ? Nearest(inverse * (logits[i] - least)) : (ushort)0;
            }
        }
        else
        {
            codes[..vocabulary].Clear();
        }

        return most + logSum - logits[token];
    }

    /// <summary>Reads the head. InvalidInput when the file is no logits file or its size contradicts its head.</summary>
    public static (int ContextLength, int Vocabulary, int Chunks, int[] Tokens) ReadHead(FileStream stream)
    {
        FailureException Invalid(string reason) => new(Failure.InvalidInput($"{stream.Name}: {reason}; this is not a logits file of llama-perplexity"));
        Span<byte> magic = stackalloc byte[8];
        Span<int> numbers = stackalloc int[3];
        if (stream.Length < 20)
        {
            throw Invalid($"it has {stream.Length} bytes");
        }

        stream.ReadExactly(magic);
        stream.ReadExactly(MemoryMarshal.AsBytes(numbers));
        var (contextLength, vocabulary, chunks) = (numbers[0], numbers[1], numbers[2]);
        if (!magic.SequenceEqual(Magic) || contextLength is < 8 or > 1 << 20 || vocabulary is < 1 or > 1 << 24 || chunks < 1)
        {
            throw Invalid($"its head says context {contextLength}, vocabulary {vocabulary}, {chunks} chunks");
        }

        var tokens = (Int128)contextLength * chunks;
        var rows = (Int128)(contextLength - 1 - (contextLength / 2)) * chunks;
        var expected = 20 + (tokens * sizeof(int)) + (rows * RowLength(vocabulary) * sizeof(ushort));
        if (stream.Length != expected || tokens > Array.MaxLength)
        {
            throw Invalid($"it has {stream.Length} bytes where its head asks for {expected}");
        }

        var found = new int[(int)tokens];
        stream.ReadExactly(MemoryMarshal.AsBytes(found.AsSpan()));
        return found.Any(token => token < 0 || token >= vocabulary)
            ? throw Invalid("it holds a token outside its vocabulary")
            : (contextLength, vocabulary, chunks, found);
    }

    // The nearest integer by the float's own rounding, ties to even, as the reference gets it from the mantissa.
    private static ushort Nearest(float value) => (ushort)((BitConverter.SingleToInt32Bits(value + 12582912f) & 0x007fffff) - 0x00400000);
}
