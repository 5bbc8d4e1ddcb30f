using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>A weight of the source model and how to get it back from the quantized one: the evidence of a pass.</summary>
/// <param name="source">The tensor as it was.</param>
/// <param name="format">What it became, for the report.</param>
internal abstract class QuantizedWeight(TensorProto source, string format)
{
    // What a scale of the smallest normal float spreads over the codes of 16 bits. Values that all lie below it become zero.
    private const double Nothing = 65535 * 1.17549435e-38;

    /// <summary>The tensor as it was.</summary>
    public TensorProto Source { get; } = source;

    /// <summary>What it became, for the report.</summary>
    public string Format { get; } = format;

    /// <summary>Signal to noise below which the stored tensor does not stand for its source, dB.</summary>
    public abstract double FloorDb { get; }

    /// <summary>Signal to noise of what a reader of the file gets, dB; positive infinity where nothing was lost.</summary>
    /// <param name="find">Gives an initializer of the file that was written.</param>
    /// <param name="threads">Threads that may be used.</param>
    public double Sqnr(Func<string, TensorProto> find, int threads)
    {
        var original = OnnxTensors.FloatMemory(Source);
        var restored = Restore(find);
        if (restored.Length != original.Length)
        {
            throw new FailureException(new Failure(
                FailureType.Internal,
                $"'{Source.Name}' had {original.Length} values and came back with {restored.Length}: the pass wrote a wrong tensor"));
        }

        var length = restored.PieceLength;
        var powers = new (double Signal, double Noise)[(int)((restored.Length + length - 1) / length)];
        Parallel.For(
            0,
            powers.Length,
            new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) },
            () => new float[Math.Min(length, restored.Length)],
            (i, _, buffer) =>
            {
                var first = i * length;
                var values = buffer.AsSpan(0, Math.Min(length, original.Length - first));
                restored.Read(first, values);
                powers[i] = Powers(original.Span.Slice(first, values.Length), values);
                return buffer;
            },
            _ => { });
        // Summed in one order, whatever the threads did.
        var (signal, noise) = (powers.Sum(p => p.Signal), powers.Sum(p => p.Noise));
        return noise <= signal && signal <= original.Length * Nothing * Nothing ? double.PositiveInfinity : Decibel(signal, noise);
    }

    /// <summary>10 log10 of signal power over noise power.</summary>
    public static double Decibel(ReadOnlySpan<float> original, ReadOnlySpan<float> restored)
    {
        var (signal, noise) = Powers(original, restored);
        return Decibel(signal, noise);
    }

    /// <summary>The source's values, in its order, from the tensors of the written file.</summary>
    protected abstract RestoredWeight Restore(Func<string, TensorProto> find);

    private static double Decibel(double signal, double noise) =>
        noise == 0 ? double.PositiveInfinity : signal == 0 ? double.NegativeInfinity : 10 * Math.Log10(signal / noise);

    private static (double Signal, double Noise) Powers(ReadOnlySpan<float> original, ReadOnlySpan<float> restored)
    {
        double signal = 0, noise = 0;
        var at = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            var (signals, noises) = (Vector256<double>.Zero, Vector256<double>.Zero);
            for (; at <= original.Length - Vector256<float>.Count; at += Vector256<float>.Count)
            {
                var (low, high) = Vector256.Widen(Vector256.LoadUnsafe(ref MemoryMarshal.GetReference(original), (nuint)at));
                var (restoredLow, restoredHigh) = Vector256.Widen(Vector256.LoadUnsafe(ref MemoryMarshal.GetReference(restored), (nuint)at));
                var (errorLow, errorHigh) = (low - restoredLow, high - restoredHigh);
                signals += (low * low) + (high * high);
                noises += (errorLow * errorLow) + (errorHigh * errorHigh);
            }

            (signal, noise) = (Vector256.Sum(signals), Vector256.Sum(noises));
        }

        for (; at < original.Length; at++)
        {
            double value = original[at], error = value - restored[at];
            signal += value * value;
            noise += error * error;
        }

        return (signal, noise);
    }
}

/// <summary>A weight with linear scales, one for all or one per channel.</summary>
/// <param name="source">The tensor as it was.</param>
/// <param name="format">What it became.</param>
/// <param name="codes">Initializer of the codes.</param>
/// <param name="scale">Initializer of the scales.</param>
/// <param name="zeroPoint">Initializer of the zero points; null where they are all 0.</param>
/// <param name="axis">Axis of the stored tensor that the scales run along; null for one scale.</param>
/// <param name="transposed">Whether the codes are stored as the transpose of the source matrix.</param>
internal sealed class LinearWeight(TensorProto source, string format, string codes, string scale, string? zeroPoint, int? axis, bool transposed)
    : QuantizedWeight(source, format)
{
    /// <inheritdoc/>
    public override double FloorDb => 10;

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find)
    {
        var stored = find(codes);
        var inner = (int)stored.Dims.Skip((axis ?? -1) + 1).Aggregate(1L, (x, d) => x * d);
        var (scales, zeros) = (OnnxTensors.ToFloats(find(scale)), zeroPoint is null ? [] : QuantCodes.Unpack(find(zeroPoint)));
        if (!transposed)
        {
            return LinearPieces.Open(stored, scales, zeros, inner);
        }

        var values = QuantCodes.Unpack(stored);
        QuantCodes.Restore(values, scales, zeros, inner);
        return new WholeWeight(Transpose(values, (int)stored.Dims[0], (int)stored.Dims[1]));
    }

    /// <summary>Transposes a row-major matrix.</summary>
    public static float[] Transpose(ReadOnlySpan<float> matrix, int rows, int columns)
    {
        var result = new float[matrix.Length];
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
            {
                result[(c * rows) + r] = matrix[(r * columns) + c];
            }
        }

        return result;
    }
}

/// <summary>The weights of a recurrent operator, whose matrices are stored as their transposes.</summary>
/// <param name="source">The tensor as it was, [directions, outputs, inputs].</param>
/// <param name="format">What it became.</param>
/// <param name="codes">Initializer of the codes, [directions, inputs, outputs].</param>
/// <param name="scale">Initializer of the scales: [directions] or [directions, outputs].</param>
/// <param name="zeroPoint">Initializer of the zero points, of the same shape.</param>
internal sealed class StackedWeight(TensorProto source, string format, string codes, string scale, string zeroPoint) : QuantizedWeight(source, format)
{
    /// <inheritdoc/>
    public override double FloorDb => 10;

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find)
    {
        var stored = find(codes);
        var (inputs, outputs) = ((int)stored.Dims[1], (int)stored.Dims[2]);
        var values = QuantCodes.Unpack(stored);
        var (scales, zeros) = (OnnxTensors.ToFloats(find(scale)), QuantCodes.Unpack(find(zeroPoint)));
        var perChannel = find(scale).Dims.Count == 2;
        var restored = new float[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var (direction, input, output) = (i / (inputs * outputs), i / outputs % inputs, i % outputs);
            var channel = perChannel ? (direction * outputs) + output : direction;
            restored[(((direction * outputs) + output) * inputs) + input] = (values[i] - zeros[channel]) * scales[channel];
        }

        return new WholeWeight(restored);
    }
}
