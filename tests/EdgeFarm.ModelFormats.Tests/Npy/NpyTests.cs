using System.IO.Compression;
using System.Text;
using CsCheck;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;

namespace EdgeFarm.ModelFormats.Tests.Npy;

public sealed class NpyTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-npy-").FullName;

    [Fact]
    public void Arrays_come_back_from_an_archive()
    {
        var path = Path.Combine(_root, "a.npz");
        NpyFile.WriteArchive(path, new Dictionary<string, NpyArray>
        {
            ["image"] = NpyArray.Of([2, 3], new float[] { 1, 2, 3, 4, 5, 6 }),
            ["label"] = NpyArray.Of([2], new long[] { 7, -8 }),
            ["scalar"] = NpyArray.Of([], new float[] { 9 }),
        });
        var loaded = NpyFile.Load(path).Value;
        Assert.Equal([1, 2, 3, 4, 5, 6], loaded["image"].ToFloats());
        Assert.Equal([2, 3], loaded["image"].Shape);
        Assert.Equal([7, -8], loaded["label"].ToInt64s());
        Assert.Empty(loaded["scalar"].Shape);
    }

    [Fact]
    public void Column_order_becomes_row_order()
    {
        // The matrix 1 2 3 / 4 5 6 stored by columns.
        var array = Load("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", Bytes(1f, 4, 2, 5, 3, 6));
        Assert.Equal([1, 2, 3, 4, 5, 6], array.ToFloats());
    }

    [Theory]
    [InlineData("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python objects")]
    [InlineData("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "type '>f4'")]
    [InlineData("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", "type '<U4'")]
    [InlineData("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "records")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "needs 8 bytes, and holds 4")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8), }", "too large")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "broken header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'extra': 1}", "unknown or doubled")]
    [InlineData("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "unknown or doubled")]
    [InlineData("{'descr': '<f4', 'shape': (1,)}", "missing")]
    [InlineData("__import__('os').system('true')", "broken header")]
    public void A_header_that_is_not_plain_numbers_is_invalid(string header, string expected)
    {
        var path = Write(header, Bytes(1f));
        Invalid(path, expected);
    }

    [Fact]
    public void Truncation_at_every_length_is_invalid()
    {
        var path = Write("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", Bytes(1f, 2));
        var bytes = File.ReadAllBytes(path);
        for (var length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(path, bytes[..length]);
            Assert.Equal(FailureType.InvalidInput, NpyFile.Load(path).Failure!.Type);
        }
    }

    [Fact]
    public void No_change_of_bytes_crashes_the_reader()
    {
        var path = Path.Combine(_root, "f.npz");
        NpyFile.WriteArchive(path, new Dictionary<string, NpyArray> { ["x"] = NpyArray.Of([3], new float[] { 1, 2, 3 }) });
        var bytes = File.ReadAllBytes(path);
        Gen.Select(Gen.Int[0, bytes.Length - 1], Gen.Byte).Array[1, 5].Sample(
            changes =>
            {
                var broken = (byte[])bytes.Clone();
                foreach (var (at, value) in changes)
                {
                    broken[at] = value;
                }

                File.WriteAllBytes(path, broken);
                var loaded = NpyFile.Load(path);
                return loaded.IsOk || loaded.Failure!.IsDeterministic;
            },
            iter: 2000,
            threads: 1);
    }

    [Fact]
    public void An_archive_that_expands_too_far_is_refused_before_it_does()
    {
        var path = Path.Combine(_root, "bomb.npz");
        using (var archive = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            using var stream = archive.CreateEntry("x.npy", CompressionLevel.SmallestSize).Open();
            NpyFile.Write(stream, new NpyArray(NpyType.UInt8, [64 << 20], new byte[64 << 20]));
        }

        Invalid(path, "more than 200 times");
        Assert.Equal(FailureType.Unsupported, NpyFile.Load(WriteArchive("ok.npz", 1 << 20), maxBytes: 1 << 19).Failure!.Type);
    }

    [Fact]
    public void A_size_that_the_entry_understates_is_invalid()
    {
        var path = WriteArchive("lie.npz", 4096);
        var bytes = File.ReadAllBytes(path);
        // The uncompressed size in the central directory, 24 bytes after its signature.
        var central = bytes.AsSpan().LastIndexOf("PK\u0001\u0002"u8);
        BitConverter.TryWriteBytes(bytes.AsSpan(central + 24), 200u);
        File.WriteAllBytes(path, bytes);
        Assert.Equal(FailureType.InvalidInput, NpyFile.Load(path).Failure!.Type);
    }

    [Fact]
    public void An_archive_holds_arrays_only()
    {
        var path = Path.Combine(_root, "x.npz");
        using (var archive = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            archive.CreateEntry("readme.txt").Open().Dispose();
        }

        Invalid(path, "is not a .npy array");
    }

    [SkippableTheory]
    [InlineData("models/digits/test.npz", "image", 500)]
    [InlineData("models/minilm-l6/calibration.npz", "input_ids", 128)]
    [InlineData("reference/onnx-static/conv_calib.npy", "", 32)]
    public void Files_that_numpy_wrote_are_read(string relative, string array, long rows)
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), "EDGEFARM_TEST_DATA is not set");
        Assert.Equal(rows, NpyFile.Load(Path.Combine(root, relative)).Value[array].Rows);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static byte[] Bytes(params float[] values) => values.SelectMany(BitConverter.GetBytes).ToArray();

    private string WriteArchive(string name, int floats)
    {
        var random = new Random(1);
        var path = Path.Combine(_root, name);
        NpyFile.WriteArchive(path, new Dictionary<string, NpyArray> { ["x"] = NpyArray.Of([floats], Enumerable.Range(0, floats).Select(_ => random.NextSingle()).ToArray()) });
        return path;
    }

    private string Write(string header, byte[] data)
    {
        var text = Encoding.ASCII.GetBytes(header + "\n");
        var path = Path.Combine(_root, "a.npy");
        File.WriteAllBytes(path, [0x93, .. "NUMPY"u8, 1, 0, (byte)text.Length, (byte)(text.Length >> 8), .. text, .. data]);
        return path;
    }

    private NpyArray Load(string header, byte[] data) => NpyFile.Load(Write(header, data)).Value[NpyFile.SingleName];

    private static void Invalid(string path, string expected)
    {
        var failure = NpyFile.Load(path).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }
}
