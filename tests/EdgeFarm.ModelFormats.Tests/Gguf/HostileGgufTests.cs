using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Gguf;

public class HostileGgufTests
{
    public static TheoryData<string> Names() => new(GgufCorpus.Hostile().Select(file => file.Name));

    [Theory]
    [MemberData(nameof(Names))]
    public void A_hostile_file_is_refused_with_place_and_reason(string name)
    {
        var (_, bytes, reason) = GgufCorpus.Hostile().Single(file => file.Name == name);
        using var directory = new TemporaryDirectory();
        var path = directory.File($"{name}.gguf");
        File.WriteAllBytes(path, bytes);

        var outcome = GgufMetadataCheck.Read(path);

        Assert.Equal(FailureType.InvalidInput, outcome.Failure?.Type);
        Assert.Contains(reason, outcome.Failure!.Message, StringComparison.Ordinal);
        Assert.Contains(path, outcome.Failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sound_models_pass()
    {
        Sound(_ => { });
        // One number per layer.
        Sound(m =>
        {
            m["llama.attention.head_count"] = GgufValue.OfArray(new[] { 2u, 0u });
            m["llama.attention.head_count_kv"] = GgufValue.OfArray(new[] { 1u, 0u });
            m["llama.feed_forward_length"] = GgufValue.OfArray(new[] { 16, 0 });
        });
        // What llama.cpp does not know it refuses itself.
        Sound(m => m["general.architecture"] = GgufValue.Of("another"));
        // Not a model at all.
        Sound(m => { m["general.type"] = GgufValue.Of("imatrix"); m.Remove("general.architecture"); });

        static void Sound(Action<Dictionary<string, GgufValue>> change)
        {
            using var stream = new MemoryStream(GgufCorpus.Model(change));
            Assert.Null(GgufMetadataCheck.Check(GgufReader.Read(stream, "sound").Value, "sound"));
        }
    }

    // To write the corpus anew after a change here: set EDGEFARM_WRITE_CORPUS to the project's directory.
    [Fact]
    public void The_committed_corpus_is_what_the_generator_makes()
    {
        if (Environment.GetEnvironmentVariable("EDGEFARM_WRITE_CORPUS") is { Length: > 0 } project)
        {
            var target = Directory.CreateDirectory(Path.Combine(project, "Data", "GgufCorpus")).FullName;
            foreach (var (name, bytes, _) in GgufCorpus.Hostile().Append(("sound", GgufCorpus.Model(), "")).Where(IsSmall))
            {
                File.WriteAllBytes(Path.Combine(target, $"{name}.gguf"), bytes);
            }
        }

        foreach (var (name, bytes, _) in GgufCorpus.Hostile().Append(("sound", GgufCorpus.Model(), "")).Where(IsSmall))
        {
            Assert.Equal(bytes, File.ReadAllBytes(TestData.Local($"GgufCorpus/{name}.gguf")));
        }
    }

    [Fact]
    public void A_missing_file_is_invalid_input() =>
        Assert.Equal(FailureType.InvalidInput, GgufReader.Read("/does/not/exist.gguf").Failure?.Type);

    [SkippableFact]
    public void Every_file_of_the_reference_is_sound()
    {
        var files = Directory.GetFiles(TestData.Shared("reference/hf/gguf"), "*.gguf").Append(TestData.Shared("models/edgefarm-tiny/edgefarm-tiny-f16.gguf"));
        Assert.All(files, file => Assert.Null(GgufMetadataCheck.Read(file).Failure));
    }

    // Mutants of the committed corpus; EDGEFARM_FUZZ_ITERATIONS makes it run longer, EDGEFARM_FUZZ_SEED elsewhere.
    [Fact]
    public void Mutated_files_are_read_or_refused_without_taking_memory_that_the_file_chose()
    {
        var iterations = int.TryParse(Environment.GetEnvironmentVariable("EDGEFARM_FUZZ_ITERATIONS"), out var given) ? given : 20_000;
        var first = int.TryParse(Environment.GetEnvironmentVariable("EDGEFARM_FUZZ_SEED"), out var start) ? start : 1;
        var seeds = Directory.GetFiles(TestData.Local("GgufCorpus")).Order(StringComparer.Ordinal).Select(File.ReadAllBytes).ToArray();
        var accepted = 0;
        for (var seed = first; seed < first + iterations; seed++)
        {
            var random = new Random(seed);
            // Half of the mutants come from the sound model, so that many get past the head.
            var bytes = Mutator.Mutate(random.Next(2) == 0 ? GgufCorpus.Model() : seeds[random.Next(seeds.Length)], random);
            using var stream = new MemoryStream(bytes);
            var before = GC.GetAllocatedBytesForCurrentThread();
            var outcome = Try(() => GgufReader.Read(stream, "mutant"), seed);
            var taken = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(taken < 300_000 + (100L * bytes.Length), $"seed {seed}: {taken} bytes were taken for a file of {bytes.Length}");
            if (!outcome.IsOk)
            {
                Assert.Equal(FailureType.InvalidInput, outcome.Failure!.Type);
                continue;
            }

            accepted++;
            var end = 0L;
            foreach (var tensor in outcome.Value.Tensors.OrderBy(tensor => tensor.Offset))
            {
                Assert.True(tensor.Offset >= end && outcome.Value.FileOffset(tensor) + tensor.Bytes <= bytes.Length, $"seed {seed}: {tensor}");
                end = tensor.Offset + tensor.Bytes;
            }

            Try(() => GgufMetadataCheck.Check(outcome.Value, "mutant"), seed);
        }

        Assert.InRange(accepted, iterations / 100, iterations - 1);
    }

    private static bool IsSmall((string Name, byte[] Bytes, string Reason) file) => file.Bytes.Length < 10_000;

    private static T Try<T>(Func<T> read, int seed)
    {
        try
        {
            return read();
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"seed {seed}: {e.GetType().Name}", e);
        }
    }
}
