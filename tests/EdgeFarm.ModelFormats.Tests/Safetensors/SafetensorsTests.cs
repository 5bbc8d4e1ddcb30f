using System.Text;
using CsCheck;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Safetensors;

namespace EdgeFarm.ModelFormats.Tests.Safetensors;

public class SafetensorsTests
{
    public static TheoryData<string, string> Hostile() => new()
    {
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""", "not sound JSON" },
        { """ {"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "does not start with" },
        { """[1]""", "does not start with" },
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "not sound JSON" },
        { """{"t":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}""", "unknown dtype" },
        { """{"t":{"dtype":"9","shape":[2],"data_offsets":[0,8]}}""", "unknown dtype" },
        { """{"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", "is -2" },
        { """{"t":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", "not an integer" },
        { """{"t":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}""", "more elements than" },
        { """{"t":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}""", "17 dimensions" },
        { """{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "has 12 bytes" },
        { """{"t":{"dtype":"F4","shape":[1],"data_offsets":[0,0]},"u":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}""", "has 0 bytes" },
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", "is [8, 0]" },
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}""", "has 3 numbers" },
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", "is -8" },
        { """{"t":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", "is 16; 0 to 8" },
        { """{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "something appended" },
        { """{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", "leaves a gap" },
        { """{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}""", "overlaps" },
        { """{"t":{"dtype":"F32","shape":[2]}}""", "no \"data_offsets\"" },
        { """{"t":1}""", "not an object" },
        { """{"__metadata__":{"a":1},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "not text" },
    };

    [Theory]
    [MemberData(nameof(Hostile))]
    public void A_hostile_header_is_refused_with_its_reason(string header, string reason) => Refused(File(header, 8), reason);

    [Fact]
    public void Lengths_that_the_file_does_not_have_are_refused()
    {
        Refused([], "fewer than the 8");
        Refused([.. BitConverter.GetBytes(ulong.MaxValue), 0, 0], "claims 18446744073709551615");
        Refused([.. BitConverter.GetBytes(100UL), (byte)'{', (byte)'}'], "claims 100 bytes");
        Refused(BitConverter.GetBytes(0UL), "does not start with");
        Refused(File(new string('[', 1000), 0), "does not start with");
        Refused(File("{\"a\":" + new string('[', 1000), 0), "not sound JSON");
    }

    [Fact]
    public void What_is_written_is_read_back() => Gen.Select(
            Gen.Enum<SafetensorsDType>().Where(type => type.Bits() >= 8), Gen.Int[0, 5].Array[0, 3], Gen.String[Gen.Char['\u0020', '\u07FF'], 1, 9])
        .Array[0, 6].Sample(rows =>
        {
            using var directory = new TemporaryDirectory();
            SafetensorsSpec[] specs = [.. rows.DistinctBy(row => row.Item3).Select(row => new SafetensorsSpec(row.Item3, row.Item1, [.. row.Item2.Select(e => (long)e)]))];
            var data = new byte[specs.Sum(spec => spec.Bytes)];
            new Random(data.Length).NextBytes(data);
            using (var stream = System.IO.File.Create(directory.File("a.safetensors")))
            {
                var writer = new SafetensorsWriter(stream, specs, new Dictionary<string, string> { ["format"] = "pt" });
                writer.Write(data);
                writer.Complete();
                Assert.Throws<InvalidOperationException>(() => writer.Write([1]));
            }

            using var file = SafetensorsFile.Open(directory.File("a.safetensors")).Value;
            Assert.Equal("pt", file.Metadata["format"]);
            Assert.Equal(specs.Select(spec => spec.Name).Order(StringComparer.Ordinal), file.Tensors.Select(tensor => tensor.Name));
            var offset = 0;
            foreach (var spec in specs)
            {
                var tensor = file.Tensor(spec.Name)!;
                Assert.Equal((spec.Type, spec.Bytes), (tensor.Type, tensor.Bytes));
                Assert.Equal(spec.Shape, tensor.Shape);
                var bytes = new byte[tensor.Bytes];
                file.Read(tensor, 0, bytes);
                Assert.Equal(data.AsSpan(offset, bytes.Length).ToArray(), bytes);
                Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(tensor, 1, bytes.Length == 0 ? new byte[1] : bytes));
                offset += bytes.Length;
            }
        }, iter: 100);

    [Fact]
    public void Mutated_files_are_read_or_refused()
    {
        using var directory = new TemporaryDirectory();
        var path = directory.File("m.safetensors");
        var sound = File("""{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}""", 20);
        for (var seed = 1; seed <= 1000; seed++)
        {
            System.IO.File.WriteAllBytes(path, Mutator.Mutate(sound, new Random(seed)));
            var outcome = SafetensorsFile.Open(path);
            Assert.True(outcome.IsOk || outcome.Failure!.Type == FailureType.InvalidInput, $"seed {seed}: {outcome.Failure}");
            if (outcome.IsOk)
            {
                using var file = outcome.Value;
                Assert.All(file.Tensors, tensor => file.Read(tensor, 0, new byte[tensor.Bytes]));
            }
        }
    }

    [Fact]
    public void A_file_that_becomes_shorter_meanwhile_is_an_error_and_not_a_crash()
    {
        using var directory = new TemporaryDirectory();
        var path = directory.File("s.safetensors");
        System.IO.File.WriteAllBytes(path, File("""{"t":{"dtype":"U8","shape":[100000],"data_offsets":[0,100000]}}""", 100_000));
        using var file = SafetensorsFile.Open(path).Value;
        using (var other = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
        {
            other.SetLength(1000);
        }

        Assert.Throws<EndOfStreamException>(() => file.Read(file.Tensors[0], 0, new byte[100_000]));
    }

    private static byte[] File(string header, int data) => [.. BitConverter.GetBytes((ulong)Encoding.UTF8.GetByteCount(header)), .. Encoding.UTF8.GetBytes(header), .. new byte[data]];

    private static void Refused(byte[] bytes, string reason)
    {
        using var directory = new TemporaryDirectory();
        var path = directory.File("h.safetensors");
        System.IO.File.WriteAllBytes(path, bytes);
        var outcome = SafetensorsFile.Open(path);
        Assert.Equal(FailureType.InvalidInput, outcome.Failure?.Type);
        Assert.Contains(reason, outcome.Failure!.Message, StringComparison.Ordinal);
        Assert.Contains(path, outcome.Failure.Message, StringComparison.Ordinal);
    }
}
