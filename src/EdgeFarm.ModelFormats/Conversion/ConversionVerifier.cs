using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>
/// Reads a converted file back as a stranger would and compares it with its source: metadata value by value, tensors number by number
/// against the error that their type allows. Throws <see cref="FailureException"/> (Internal) when something differs.
/// </summary>
internal sealed class ConversionVerifier(string path, GgufMetadata metadata, IReadOnlyList<PlannedTensor> plan)
{
    private byte[] _bytes = [];
    private float[] _decoded = [];

    /// <summary>Compares everything.</summary>
    public ConversionProof Verify(Action<GgufTensor> finished, CancellationToken cancellation)
    {
        var outcome = GgufReader.Read(path);
        var file = outcome.IsOk ? outcome.Value : throw Error(outcome.Failure!.Message);
        if (file.Metadata.Entries.Count != metadata.Entries.Count
            || file.Metadata.Entries.Zip(metadata.Entries).Any(pair => pair.First.Key != pair.Second.Key || !pair.First.Value.SameAs(pair.Second.Value)))
        {
            throw Error("the metadata differs from what was written");
        }

        if (file.Tensors.Count != plan.Count)
        {
            throw Error($"it has {file.Tensors.Count} tensors, not {plan.Count}");
        }

        using var handle = File.OpenHandle(path);
        var streamer = new TensorStreamer();
        var exact = 0;
        var worst = double.PositiveInfinity;
        string? worstTensor = null;
        foreach (var (planned, tensor) in plan.Zip(file.Tensors))
        {
            if (tensor.Name != planned.Spec.Name || tensor.Type != planned.Spec.Type || !tensor.Shape.SequenceEqual(planned.Spec.Shape))
            {
                throw Error($"tensor {tensor.Name} is not the {planned.Spec.Name} that was written");
            }

            var comparison = new Comparison();
            var info = GgmlTypes.Get(tensor.Type);
            streamer.Values(
                planned,
                (first, values) =>
                {
                    var size = checked(values.Length / info.BlockSize * info.BlockBytes);
                    Grow(ref _bytes, size);
                    Grow(ref _decoded, values.Length);
                    PositionedRead.Fill(handle, path, file.FileOffset(tensor) + (first / info.BlockSize * info.BlockBytes), _bytes.AsSpan(0, size));
                    var decoded = _decoded.AsSpan(0, values.Length);
                    ElementCodec.Decode(tensor.Type, _bytes.AsSpan(0, size), decoded);
                    if (comparison.Add(tensor.Type, values.Span, decoded) is { } index)
                    {
                        throw Error($"element {first + index} of tensor {tensor.Name} is {decoded[index]}, but the checkpoint has {values.Span[index]}");
                    }
                },
                cancellation);
            exact += comparison.IsExact ? 1 : 0;
            if (!comparison.IsExact && comparison.Snr < worst)
            {
                (worst, worstTensor) = (comparison.Snr, tensor.Name);
            }

            finished(tensor);
        }

        return new ConversionProof(plan.Count, exact, worst, worstTensor);
    }

    private FailureException Error(string reason) =>
        new(new Failure(FailureType.Internal, $"the converted file did not stand the comparison with its source and was discarded: {reason}"));

    private static void Grow<T>(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
        {
            buffer = new T[length];
        }
    }

    private sealed class Comparison
    {
        private double _exactSignal;
        private double _signal;
        private double _noise;

        public bool IsExact { get; private set; } = true;

        /// <summary>Signal-to-noise ratio in decibels; infinities are left out of it.</summary>
        public double Snr => 10 * Math.Log10((_exactSignal + _signal) / _noise);

        /// <summary>Adds values; gives the index of the first that is further off than the type allows.</summary>
        public int? Add(GgmlType type, ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
        {
            // Mostly nothing was rounded, and then the ratio is not asked for as long as that stays so.
            if (IsExact && MemoryMarshal.AsBytes(expected).SequenceEqual(MemoryMarshal.AsBytes(actual)))
            {
                _exactSignal += TensorPrimitives.SumOfSquares(expected) is var sum && float.IsFinite(sum) ? sum : 0;
                return null;
            }

            for (var start = 0; start < expected.Length;)
            {
                var length = type == GgmlType.Q8_0 ? ElementCodec.Q8Block : expected.Length;
                var largest = 0f;
                if (type == GgmlType.Q8_0)
                {
                    foreach (var value in expected.Slice(start, length))
                    {
                        largest = Math.Max(largest, Math.Abs(value));
                    }
                }

                for (var i = start; i < start + length; i++)
                {
                    float x = expected[i], y = actual[i];
                    if (BitConverter.SingleToInt32Bits(x) == BitConverter.SingleToInt32Bits(y) || (float.IsNaN(x) && float.IsNaN(y)))
                    {
                        _signal += float.IsFinite(x) ? (double)x * x : 0;
                        continue;
                    }

                    IsExact = false;
                    if (!IsAllowed(type, x, y, largest))
                    {
                        return i;
                    }

                    if (float.IsFinite(x) && float.IsFinite(y))
                    {
                        _signal += (double)x * x;
                        _noise += ((double)x - y) * ((double)x - y);
                    }
                }

                start += length;
            }

            return null;
        }

        // Half a step of the type; below the normal numbers half of the smallest step.
        private static bool IsAllowed(GgmlType type, float x, float y, float largest) => type switch
        {
            GgmlType.F16 => float.IsInfinity(y)
                ? Math.Abs(x) >= ElementCodec.HalfOverflow
                : Math.Abs((double)x - y) <= Math.Max(Math.Abs((double)x) / 2048, Math.ScaleB(1, -25)),
            GgmlType.BF16 => float.IsInfinity(y)
                ? Math.Abs(x) > 3.38e38
                : Math.Abs((double)x - y) <= Math.Max(Math.Abs((double)x) / 256, Math.ScaleB(1, -134)),
            // Half a step of the quantizer and 127 times the rounding of its scale to half precision; beyond that's range anything.
            GgmlType.Q8_0 => largest / 127 >= ElementCodec.HalfOverflow || !float.IsFinite(largest)
                || Math.Abs((double)x - y) <= (largest / 127.0 * (0.5001 + (127.0 / 2048))) + (127 * Math.ScaleB(1, -25)),
            _ => false,
        };
    }
}
