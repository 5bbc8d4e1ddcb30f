using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Imatrix;

/// <summary>Sums of squares of a weight tensor's inputs.</summary>
internal sealed class ActivationSums
{
    /// <summary>One sum per column and expert.</summary>
    public float[] Values { get; set; } = [];

    /// <summary>Rows that were summed: one number, or one per expert.</summary>
    public long[] Counts { get; set; } = [];
}

/// <summary>
/// Watches the matrix products of a graph and sums the squares of their inputs by column. Single precision in the order of the rows, as
/// the reference: the sums are equal to the last bit.
/// </summary>
internal sealed unsafe class ActivationCollector : IDisposable
{
    // Fewer rows than this are no prompt.
    private const long LeastRows = 16;

    private readonly LlamaLibrary _library;
    private readonly TensorLayout _layout;
    private readonly int _chunkSize;
    private readonly bool _processOutput;
    private readonly Dictionary<string, ActivationSums> _sums = new(StringComparer.Ordinal);
    private GCHandle _self;
    private byte[] _copy = [];
    private byte[] _ids = [];

    public ActivationCollector(LlamaLibrary library, int chunkSize, bool processOutput)
    {
        (_library, _layout, _chunkSize, _processOutput) = (library, library.Abi.Tensor, chunkSize, processOutput);
        _self = GCHandle.Alloc(this);
    }

    /// <summary>What the context takes as its evaluation callback.</summary>
    public (nint Callback, nint Data) Eval => ((nint)(delegate* unmanaged[Cdecl]<void*, byte, void*, byte>)&OnNode, GCHandle.ToIntPtr(_self));

    /// <summary>The first error of the callback, or null.</summary>
    public Failure? Failure { get; private set; }

    /// <summary>Chunks that were summed, as the counts tell.</summary>
    public int LastChunk { get; private set; }

    /// <summary>The sums by name, in ordinal order.</summary>
    public IReadOnlyList<KeyValuePair<string, ActivationSums>> Sums => [.. _sums.OrderBy(pair => pair.Key, StringComparer.Ordinal)];

    public void Dispose() => _self.Free();

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte OnNode(void* tensor, byte ask, void* data)
    {
        var collector = (ActivationCollector)GCHandle.FromIntPtr((nint)data).Target!;
        try
        {
            if (ask != 0)
            {
                return collector.Wants((byte*)tensor) ? (byte)1 : (byte)0;
            }

            collector.Collect((byte*)tensor);
        }
        catch (FailureException e)
        {
            collector.Failure ??= e.Failure;
        }
        catch (Exception e)
        {
            // An exception that left this callback would end the process.
            collector.Failure ??= new Failure(FailureType.Internal, e.ToString());
        }

        return collector.Failure is null ? (byte)1 : (byte)0;
    }

    private bool Wants(byte* node)
    {
        var op = *(int*)(node + _layout.Op);
        if (op == _library.Abi.OpMulMatId)
        {
            return true;
        }

        if (op != _library.Abi.OpMulMat)
        {
            return false;
        }

        var input = Source(node, 1);
        if (Extent(input, 1) < LeastRows || *(int*)(input + _layout.Type) != (int)GgmlType.F32)
        {
            return false;
        }

        var name = Name(Source(node, 0));
        return name.StartsWith("blk.", StringComparison.Ordinal) || (_processOutput && name == "output.weight");
    }

    private void Collect(byte* node)
    {
        var weight = Source(node, 0);
        var input = Source(node, 1);
        var name = Name(weight);
        if (!_sums.TryGetValue(name, out var sums))
        {
            _sums[name] = sums = new ActivationSums();
        }

        fixed (byte* data = Data(input, ref _copy))
        {
            var rows = data is null ? *(byte**)(input + _layout.Data) : data;
            if (*(int*)(node + _layout.Op) == _library.Abi.OpMulMatId)
            {
                CollectExperts(name, sums, weight, input, Source(node, 2), rows);
            }
            else
            {
                CollectDense(name, sums, weight, input, rows);
            }
        }

        if (sums.Values.Any(value => !float.IsFinite(value)))
        {
            throw new FailureException(Core.Jobs.Failure.InvalidInput($"the inputs of {name} are no numbers: the model's weights are broken or overflow in F16"));
        }

        LastChunk = Math.Max(LastChunk, (int)(sums.Counts.Max() / _chunkSize));
    }

    private void CollectDense(string name, ActivationSums sums, byte* weight, byte* input, byte* rows)
    {
        var columns = Extent(input, 0);
        var matrices = Extent(weight, 2) * Extent(weight, 3);
        Prepare(name, sums, columns * matrices, 1);
        for (long i3 = 0; i3 < Extent(input, 3); i3++)
        {
            for (long i2 = 0; i2 < Extent(input, 2); i2++)
            {
                var matrix = (i3 % Extent(weight, 3) * Extent(weight, 2)) + (i2 % Extent(weight, 2));
                var target = sums.Values.AsSpan((int)(matrix * columns), (int)columns);
                for (long row = 0; row < Extent(input, 1); row++)
                {
                    Add(target, (float*)(rows + (row * Stride(input, 1)) + (i2 * Stride(input, 2)) + (i3 * Stride(input, 3))));
                }
            }
        }

        sums.Counts[0] += Extent(input, 1) * Extent(input, 2) * Extent(input, 3) / matrices;
    }

    private void CollectExperts(string name, ActivationSums sums, byte* weight, byte* input, byte* ids, byte* rows)
    {
        var (columns, experts, tokens) = (Extent(input, 0), Extent(weight, 2), Extent(input, 2));
        Prepare(name, sums, columns * experts, experts);
        var size = (int)_library.Api.NBytes(ids);
        if (_ids.Length < size)
        {
            _ids = new byte[size];
        }

        fixed (byte* target = _ids)
        {
            _library.Api.TensorGet(ids, target, 0, (nuint)size);
            for (long used = 0; used < Extent(ids, 0); used++)
            {
                for (long token = 0; token < tokens; token++)
                {
                    var expert = *(int*)(target + (token * Stride(ids, 1)) + (used * Stride(ids, 0)));
                    if (expert < 0 || expert >= experts)
                    {
                        throw new FailureException(new Failure(FailureType.Internal, $"{name} routes to expert {expert} of {experts}"));
                    }

                    sums.Counts[expert]++;
                    var row = (float*)(rows + (used % Extent(input, 1) * Stride(input, 1)) + (token * Stride(input, 2)));
                    Add(sums.Values.AsSpan((int)(expert * columns), (int)columns), row);
                }
            }
        }
    }

    // Vectors add element by element, so the sums are those of a plain loop.
    private static void Add(Span<float> target, float* row)
    {
        var source = new ReadOnlySpan<float>(row, target.Length);
        var i = 0;
        for (; i <= target.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            var value = new Vector<float>(source[i..]);
            (new Vector<float>(target[i..]) + (value * value)).CopyTo(target[i..]);
        }

        for (; i < target.Length; i++)
        {
            target[i] += source[i] * source[i];
        }
    }

    private static void Prepare(string name, ActivationSums sums, long values, long counts)
    {
        if (sums.Values.Length == 0)
        {
            sums.Values = new float[values];
            sums.Counts = new long[counts];
        }
        else if (sums.Values.Length != values || sums.Counts.Length != counts)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"{name} has {values} columns where it had {sums.Values.Length}"));
        }
    }

    /// <summary>A copy of data that lies on a device; empty when the host can read it where it is.</summary>
    private ReadOnlySpan<byte> Data(byte* tensor, ref byte[] buffer)
    {
        if (_library.Api.BufferIsHost(*(void**)(tensor + _layout.Buffer)) != 0)
        {
            return [];
        }

        var size = (int)_library.Api.NBytes(tensor);
        if (buffer.Length < size)
        {
            buffer = new byte[size];
        }

        fixed (byte* target = buffer)
        {
            _library.Api.TensorGet(tensor, target, 0, (nuint)size);
        }

        return buffer;
    }

    private byte* Source(byte* tensor, int index) => *(byte**)(tensor + _layout.Sources + (index * sizeof(void*)));

    private long Extent(byte* tensor, int dimension) => *(long*)(tensor + _layout.Extents + (dimension * sizeof(long)));

    private long Stride(byte* tensor, int dimension) => *(long*)(tensor + _layout.Strides + (dimension * sizeof(long)));

    // A scheduler with several devices calls its copies "CUDA0#blk.0.attn_k.weight#0".
    private string Name(byte* tensor)
    {
        var name = LlamaApi.Text(tensor + _layout.Name);
        var parts = name.Split('#');
        return parts.Length > 1 ? parts[1] : name;
    }
}
