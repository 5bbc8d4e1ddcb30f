using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>Reads and makes ONNX tensors. Reading expects a tensor of a model that <see cref="OnnxModel.Load"/> has checked.</summary>
public static class OnnxTensors
{
    /// <summary>Bits of one element; 0 for strings and for a type that is not known.</summary>
    public static int BitsPerElement(int dataType) => (DataType)dataType switch
    {
        DataType.Uint2 or DataType.Int2 => 2,
        DataType.Uint4 or DataType.Int4 or DataType.Float4E2M1 => 4,
        DataType.Uint8 or DataType.Int8 or DataType.Bool or DataType.Float8E4M3Fn or DataType.Float8E4M3Fnuz
            or DataType.Float8E5M2 or DataType.Float8E5M2Fnuz or DataType.Float8E8M0 => 8,
        DataType.Uint16 or DataType.Int16 or DataType.Float16 or DataType.Bfloat16 => 16,
        DataType.Float or DataType.Int32 or DataType.Uint32 => 32,
        DataType.Int64 or DataType.Uint64 or DataType.Double or DataType.Complex64 => 64,
        DataType.Complex128 => 128,
        _ => 0,
    };

    /// <summary>Product of the dimensions; null where one is negative or the product does not fit 63 bits.</summary>
    public static long? ElementCount(IEnumerable<long> dims)
    {
        long count = 1;
        var empty = false;
        foreach (var dim in dims)
        {
            if (dim < 0)
            {
                return null;
            }

            empty |= dim == 0;
            if (dim != 0 && count > long.MaxValue / dim)
            {
                return null;
            }

            count *= Math.Max(dim, 1);
        }

        return empty ? 0 : count;
    }

    /// <summary>Bytes that so many elements take as raw data (sub-byte types are packed); null when that does not fit 63 bits.</summary>
    public static long? RawLength(int dataType, long elements)
    {
        var bits = BitsPerElement(dataType);
        return elements > (long.MaxValue - 7) / Math.Max(bits, 1) ? null : ((elements * bits) + 7) / 8;
    }

    /// <summary>The data type's name as ONNX spells it in lower case: <c>float</c>, <c>uint8</c>.</summary>
    public static string TypeName(int dataType) =>
        Enum.IsDefined((DataType)dataType) ? ((DataType)dataType).ToString().ToLowerInvariant() : $"type {dataType}";

    /// <summary>The elements as little-endian raw bytes, wherever the tensor keeps them. Not for strings.</summary>
    public static ReadOnlySpan<byte> Bytes(TensorProto tensor)
    {
        if (tensor.HasRawData)
        {
            return tensor.RawData.Span;
        }

        return (DataType)tensor.DataType switch
        {
            DataType.Float or DataType.Complex64 => MemoryMarshal.AsBytes<float>(tensor.FloatData.ToArray()),
            DataType.Double or DataType.Complex128 => MemoryMarshal.AsBytes<double>(tensor.DoubleData.ToArray()),
            DataType.Int64 => MemoryMarshal.AsBytes<long>(tensor.Int64Data.ToArray()),
            DataType.Uint64 => MemoryMarshal.AsBytes<ulong>(tensor.Uint64Data.ToArray()),
            DataType.Uint32 => MemoryMarshal.AsBytes<uint>(tensor.Uint64Data.Select(v => (uint)v).ToArray()),
            DataType.Int32 => MemoryMarshal.AsBytes<int>(tensor.Int32Data.ToArray()),
            DataType.Int16 or DataType.Uint16 or DataType.Float16 or DataType.Bfloat16 =>
                MemoryMarshal.AsBytes<short>(tensor.Int32Data.Select(v => (short)v).ToArray()),
            _ => tensor.Int32Data.Select(v => (byte)v).ToArray(),
        };
    }

    /// <summary>The elements as floats. Takes float, double, float16 and bfloat16.</summary>
    /// <exception cref="FailureException">InvalidInput: another type.</exception>
    public static float[] ToFloats(TensorProto tensor)
    {
        var bytes = Bytes(tensor);
        switch ((DataType)tensor.DataType)
        {
            case DataType.Float:
                return MemoryMarshal.Cast<byte, float>(bytes).ToArray();
            case DataType.Double:
                return Array.ConvertAll(MemoryMarshal.Cast<byte, double>(bytes).ToArray(), v => (float)v);
            case DataType.Float16:
                return Array.ConvertAll(MemoryMarshal.Cast<byte, Half>(bytes).ToArray(), v => (float)v);
            case DataType.Bfloat16:
                return Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(bytes).ToArray(), v => BitConverter.UInt32BitsToSingle((uint)v << 16));
            default:
                throw new FailureException(Failure.InvalidInput($"tensor '{OnnxText.Clip(tensor.Name)}' is {TypeName(tensor.DataType)}, a floating-point type is needed"));
        }
    }

    /// <summary>The elements of a float tensor without a copy where they are kept as raw bytes.</summary>
    public static ReadOnlySpan<float> Floats(TensorProto tensor) =>
        tensor.DataType == (int)DataType.Float ? MemoryMarshal.Cast<byte, float>(Bytes(tensor)) : ToFloats(tensor);

    /// <summary>As <see cref="Floats"/>, for work that goes on elsewhere or in several threads.</summary>
    public static ReadOnlyMemory<float> FloatMemory(TensorProto tensor) =>
        tensor.DataType == (int)DataType.Float && tensor.HasRawData ? new RawFloats(tensor.RawData.Memory).Memory : ToFloats(tensor);

    /// <summary>The elements of an integer or bool tensor.</summary>
    /// <exception cref="FailureException">InvalidInput: not an integer type of whole bytes.</exception>
    public static long[] ToInt64s(TensorProto tensor)
    {
        var bytes = Bytes(tensor);
        return (DataType)tensor.DataType switch
        {
            DataType.Int64 => MemoryMarshal.Cast<byte, long>(bytes).ToArray(),
            DataType.Uint64 => Array.ConvertAll(MemoryMarshal.Cast<byte, ulong>(bytes).ToArray(), v => checked((long)v)),
            DataType.Int32 => Array.ConvertAll(MemoryMarshal.Cast<byte, int>(bytes).ToArray(), v => (long)v),
            DataType.Uint32 => Array.ConvertAll(MemoryMarshal.Cast<byte, uint>(bytes).ToArray(), v => (long)v),
            DataType.Int16 => Array.ConvertAll(MemoryMarshal.Cast<byte, short>(bytes).ToArray(), v => (long)v),
            DataType.Uint16 => Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(bytes).ToArray(), v => (long)v),
            DataType.Int8 => Array.ConvertAll(MemoryMarshal.Cast<byte, sbyte>(bytes).ToArray(), v => (long)v),
            DataType.Uint8 or DataType.Bool => Array.ConvertAll(bytes.ToArray(), v => (long)v),
            _ => throw new FailureException(Failure.InvalidInput($"tensor '{OnnxText.Clip(tensor.Name)}' is {TypeName(tensor.DataType)}, an integer type is needed")),
        };
    }

    /// <summary>A tensor of raw little-endian bytes; the array is not copied and must not be changed afterwards.</summary>
    public static TensorProto Create(string name, DataType type, ReadOnlySpan<long> dims, byte[] raw)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type, RawData = UnsafeByteOperations.UnsafeWrap(raw) };
        tensor.Dims.AddRange(dims.ToArray());
        return tensor;
    }

    /// <summary>A float tensor.</summary>
    public static TensorProto Create(string name, ReadOnlySpan<long> dims, ReadOnlySpan<float> values) =>
        Create(name, DataType.Float, dims, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>An int64 tensor.</summary>
    public static TensorProto Create(string name, ReadOnlySpan<long> dims, ReadOnlySpan<long> values) =>
        Create(name, DataType.Int64, dims, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A float scalar (no dimensions).</summary>
    public static TensorProto Scalar(string name, float value)
    {
        var raw = new byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(raw, value);
        return Create(name, DataType.Float, [], raw);
    }

    private sealed class RawFloats(ReadOnlyMemory<byte> bytes) : MemoryManager<float>
    {
        // Handed out as read-only memory, so nobody writes to it.
        public override Span<float> GetSpan()
        {
            var floats = MemoryMarshal.Cast<byte, float>(bytes.Span);
            return MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(floats), floats.Length);
        }

        public override MemoryHandle Pin(int elementIndex = 0) => bytes[(elementIndex * sizeof(float))..].Pin();

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
