using System.Diagnostics;
using EdgeFarm.ModelFormats.Conversion;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

public class ConversionMemoryTests(Xunit.Abstractions.ITestOutputHelper output)
{
    // EDGEFARM_LARGE_CHECKPOINT_MIB = 2048 measures the bar of the specification; the default is quick.
    [Fact]
    public void Memory_stays_below_three_times_the_largest_tensor_and_200_MiB()
    {
        var mebibytes = int.TryParse(Environment.GetEnvironmentVariable("EDGEFARM_LARGE_CHECKPOINT_MIB"), out var given) ? given : 24;
        using var directory = new TemporaryDirectory();
        // A layer has 15 * hidden^2 weights in bfloat16: 7.5 MiB, or 120 MiB in a large checkpoint.
        var hidden = mebibytes < 512 ? 512 : 2048;
        var layers = (int)Math.Max(1, ((long)mebibytes << 20) / (30L * hidden * hidden));
        var checkpoint = GeneratedCheckpoint.Write(directory.File("c"), hidden, layers, feedForward: 4 * hidden, shards: 4, vocabulary: 8 * hidden);
        var sampler = new Sampler();
        var before = Sampler.Resident();
        var report = CheckpointConverter.Convert(new(checkpoint, directory.File("out.gguf"), ConversionOutType.Q8_0), sampler).Value;

        var largest = report.Tensors.Max(tensor => tensor.Shape.Aggregate(2L, (product, extent) => product * extent));
        var grown = sampler.Peak - before;
        output.WriteLine($"{report.Bytes} bytes written; largest tensor {largest}; resident memory grew by {grown}");
        Assert.True(grown < (3 * largest) + (200L << 20), $"{grown} bytes more for a largest tensor of {largest}");
        Assert.Equal(report.Tensors.Count * 2, sampler.Samples);
    }

    private sealed class Sampler : IProgress<ConversionProgress>
    {
        public long Peak { get; private set; }

        public int Samples { get; private set; }

        public static long Resident()
        {
            using var process = Process.GetCurrentProcess();
            return process.WorkingSet64;
        }

        public void Report(ConversionProgress value)
        {
            Peak = Math.Max(Peak, Resident());
            Samples++;
        }
    }
}
