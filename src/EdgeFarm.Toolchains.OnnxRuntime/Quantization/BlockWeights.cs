using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.Toolchains.OnnxRuntime.Quantization;

/// <summary>A matrix that MatMulNBits reads.</summary>
/// <param name="source">The matrix as it was, [K, N], or [N, K] where <paramref name="transposed"/>.</param>
/// <param name="block">Its format.</param>
/// <param name="codes">Initializer of the codes.</param>
/// <param name="scales">Initializer of the scales.</param>
/// <param name="zeroPoints">Initializer of the zero points; null where there are none.</param>
/// <param name="transposed">Whether the source is the transpose of what is multiplied.</param>
internal sealed class BlockWeight(TensorProto source, BlockFormat block, string codes, string scales, string? zeroPoints, bool transposed)
    : QuantizedWeight(source, $"int{block.Bits} block {block.BlockSize}")
{
    /// <inheritdoc/>
    public override double FloorDb => Floor(block.Bits);

    /// <summary>Signal to noise that blocks of so many bits must keep, dB: far below any real weight, far above a wrong layout.</summary>
    public static double Floor(int bits) => bits switch { 2 => 2, 4 => 10, _ => 25 };

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find)
    {
        var (rows, columns) = transposed ? ((int)Source.Dims[1], (int)Source.Dims[0]) : ((int)Source.Dims[0], (int)Source.Dims[1]);
        var pieces = new BlockPieces(rows, columns, block, find(codes), find(scales), zeroPoints is null ? null : find(zeroPoints));
        if (!transposed)
        {
            return pieces;
        }

        var values = new float[checked(rows * columns)];
        for (var first = 0; first < values.Length; first += pieces.PieceLength)
        {
            pieces.Read(first, values.AsSpan(first, Math.Min(pieces.PieceLength, values.Length - first)));
        }

        return new WholeWeight(LinearWeight.Transpose(values, rows, columns));
    }
}

/// <summary>A matrix behind a DequantizeLinear with a scale per block, the standard's form.</summary>
/// <param name="source">The matrix as it was, [K, N], or [N, K] where <paramref name="transposed"/>.</param>
/// <param name="block">Its format.</param>
/// <param name="codes">Initializer of the codes, [K, N].</param>
/// <param name="scales">Initializer of the scales, [blocks, N].</param>
/// <param name="zeroPoints">Initializer of the zero points; null where they are all 0.</param>
/// <param name="transposed">Whether the source is the transpose of what is multiplied.</param>
internal sealed class BlockQdqWeight(TensorProto source, BlockFormat block, string codes, string scales, string? zeroPoints, bool transposed)
    : QuantizedWeight(source, $"int{block.Bits} block {block.BlockSize}")
{
    /// <inheritdoc/>
    public override double FloorDb => BlockWeight.Floor(block.Bits);

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find)
    {
        var stored = find(codes);
        var (rows, columns) = ((int)stored.Dims[0], (int)stored.Dims[1]);
        var values = QuantCodes.Unpack(stored);
        var (factors, zeros) = (OnnxTensors.ToFloats(find(scales)), zeroPoints is null ? null : QuantCodes.Unpack(find(zeroPoints)));
        for (var i = 0; i < values.Length; i++)
        {
            var at = (i / columns / block.BlockSize * columns) + (i % columns);
            values[i] = (values[i] - (zeros?[at] ?? 0)) * factors[at];
        }

        return new WholeWeight(transposed ? LinearWeight.Transpose(values, rows, columns) : values);
    }
}

/// <summary>An embedding table that GatherBlockQuantized reads.</summary>
/// <param name="source">The table as it was.</param>
/// <param name="block">Its format.</param>
/// <param name="codes">Initializer of the codes.</param>
/// <param name="scales">Initializer of the scales.</param>
/// <param name="zeroPoints">Initializer of the zero points; null where codes are symmetric.</param>
internal sealed class BlockTable(TensorProto source, BlockFormat block, string codes, string scales, string? zeroPoints)
    : QuantizedWeight(source, $"int{block.Bits} block {block.BlockSize}")
{
    /// <inheritdoc/>
    public override double FloorDb => BlockWeight.Floor(block.Bits);

    /// <inheritdoc/>
    protected override RestoredWeight Restore(Func<string, TensorProto> find) =>
        new TablePieces((int)Source.Dims[0], (int)Source.Dims[1], block, find(codes), find(scales), zeroPoints is null ? null : find(zeroPoints));
}
