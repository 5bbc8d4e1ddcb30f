using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Tests.Projections;

public sealed class JobDocumentTests
{
    private static readonly DateTimeOffset At = new(2026, 11, 26, 1, 2, 3, 456, TimeSpan.Zero);

    private static readonly JobView Bare = new(
        "s-1/0", "s-1", JobKind.Import, "Import", "engine", "m", "", "", JobStatus.Waiting, [], false, 0, "", default, ImmutableSortedDictionary<string, ArtifactRef>.Empty);

    private static readonly JobView Full = Bare with
    {
        Kind = JobKind.Optimize,
        Form = "Q4_0 \"<ü>\"",
        Target = "cpu",
        Status = JobStatus.Failed,
        Attempts =
        [
            new AttemptView(1, "w", "h", "cpu", At, At.AddSeconds(1.5), new Failure(FailureType.Crashed, "it crashed", "tail\n", null, 11), Digest.OfText("log")),
            new AttemptView(2, "w", "h", "cpu", At.AddTicks(1), null, null, default),
            new AttemptView(3, "", "", "", null, null, null, default),
        ],
        Cached = true,
        Progress = 0.1,
        ProgressText = "halfway",
        Action = Digest.OfText("action"),
        Outputs = ImmutableSortedDictionary<string, ArtifactRef>.Empty.Add("model", new ArtifactRef(Digest.OfText("a"), ArtifactKind.Tree, 5_000_000_000, "hf", "model")),
        MemoryBytes = 7,
    };

    public static TheoryData<string> Jobs => ["bare", "full"];

    [Theory]
    [MemberData(nameof(Jobs))]
    public void A_job_is_written_as_the_serializer_writes_it_and_read_again(string which)
    {
        var job = which == "bare" ? Bare : Full;
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer);
        JobDocument.Write(json, job);

        var written = Encoding.UTF8.GetString(buffer.WrittenSpan);
        Assert.Equal(ReadModelJson.Write(job), written);
        Assert.Equal(Documents.Describe(job), Documents.Describe(ReadModelJson.Read<JobView>(written)));
    }

    [Fact]
    public void The_index_of_failed_jobs_is_of_that_status() =>
        Assert.Equal((int)JobStatus.Failed, int.Parse(FarmSchema.FailedJob, System.Globalization.CultureInfo.InvariantCulture));
}
