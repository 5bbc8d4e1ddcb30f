using CsCheck;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using Google.Protobuf;
using static EdgeFarm.ModelFormats.Onnx.Proto.TensorProto.Types;

namespace EdgeFarm.ModelFormats.Tests.Onnx;

/// <summary>A model whose weights stay in the file is the model that protobuf reads.</summary>
public sealed class WeightSplitterTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-split-").FullName;

    [Fact]
    public void Mapped_and_copied_weights_are_the_same()
    {
        var path = Large().Write(_root);
        using var mapped = OnnxModel.Load(path).Value;
        using var copied = OnnxModel.Load(path, mapped: false).Value;
        Assert.Equal(copied.Proto, mapped.Proto);
        mapped.ReleasePages();
        Assert.Equal(copied.Proto.ToByteString(), mapped.Proto.ToByteString());
        // The copy does not need the file.
        File.Delete(path);
        Assert.Equal(Bytes(1), copied.Graph.Initializer[1].RawData.ToByteArray());
    }

    [Fact]
    public void What_is_written_twice_is_read_as_protobuf_reads_it()
    {
        var model = Large();
        // A second graph is merged into the first, a second raw_data replaces it: the wire format allows both.
        var more = new ModelProto { Graph = new GraphProto { DocString = "second" } };
        var path = Path.Combine(_root, "twice.onnx");
        File.WriteAllBytes(path, [.. model.ToByteArray(), .. more.ToByteArray()]);
        using var merged = OnnxModel.Load(path).Value;
        Assert.Equal("second", merged.Graph.DocString);
        Assert.Equal(Bytes(1), merged.Graph.Initializer[1].RawData.ToByteArray());
    }

    [Fact]
    public void No_change_of_bytes_makes_another_model_than_protobufs()
    {
        var bytes = Large().ToByteArray();
        var path = Path.Combine(_root, "fuzz.onnx");
        // Weights are most of the file and mean nothing to the reader: the places about them are the ones to hit.
        int[] places = [.. Enumerable.Range(0, bytes.Length).Where(i => bytes[i] != 7 && bytes[i] != 8)];
        Gen.Select(Gen.Int[0, places.Length - 1], Gen.Byte).Array[1, 4].Sample(
            changes =>
            {
                var broken = (byte[])bytes.Clone();
                foreach (var (at, value) in changes)
                {
                    broken[places[at]] = value;
                }

                File.WriteAllBytes(path, broken);
                var (mapped, copied) = (OnnxModel.Load(path), OnnxModel.Load(path, mapped: false));
                Assert.Equal(copied.IsOk, mapped.IsOk);
                if (mapped.IsOk)
                {
                    Assert.Equal(copied.Value.Proto, mapped.Value.Proto);
                    mapped.Value.Dispose();
                }
            },
            iter: 400,
            threads: 1);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static byte[] Bytes(byte value)
    {
        var bytes = new byte[64 << 10];
        bytes.AsSpan().Fill((byte)(6 + value));
        return bytes;
    }

    // A small weight and two large ones.
    private static ModelProto Large()
    {
        var model = TestModels.MatMul();
        foreach (var i in (byte[])[1, 2])
        {
            model.Graph.Initializer.Add(new TensorProto { Name = $"large{i}", DataType = (int)DataType.Uint8, RawData = ByteString.CopyFrom(Bytes(i)), DocString = "after the weights" });
            model.Graph.Initializer[^1].Dims.Add(64 << 10);
        }

        return model;
    }
}
