using EdgeFarm.Actors.Tests.Farm;
using EdgeFarm.Actors.Tests.Projections;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Actors.Tests.Workers;

public sealed class ResultStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_result_is_kept_over_a_restart_until_it_is_forgotten()
    {
        var result = Result(1);
        await new DiskResultStore(_directory.Path).KeepAsync(result, default);
        await new DiskResultStore(_directory.Path).KeepAsync(result, default);
        await new DiskResultStore(_directory.Path).KeepAsync(Result(2), default);

        var store = new DiskResultStore(_directory.Path);
        var kept = await store.LoadAsync(default);
        Assert.Equal([1L, 2], kept.Select(k => k.Lease.Fence).Order());
        var read = kept.Single(k => k.Lease.Fence == 1);
        Assert.Equal(Documents.Describe(result.Outcome), Documents.Describe(read.Outcome));

        // What a worker does not need of a job it is not sent, so it is not kept: requirements and entries.
        var spec = result.Lease.Job.Spec;
        var expected = result.Lease with
        {
            Job = result.Lease.Job with
            {
                Spec = spec with
                {
                    Requirements = JobRequirements.None,
                    Entries = [],
                    Inputs = [.. result.Lease.Job.Inputs.Select(i => new JobInput(i.Key, InputSource.Of(i.Value)))],
                },
            },
        };
        Assert.Equal(Documents.Describe(expected), Documents.Describe(read.Lease));

        await store.ForgetAsync(result.Lease.Key, default);
        await store.ForgetAsync(result.Lease.Key, default);
        Assert.Equal(2, Assert.Single(await store.LoadAsync(default)).Lease.Fence);
    }

    [Fact]
    public async Task A_broken_file_is_set_aside()
    {
        var store = new DiskResultStore(_directory.Path);
        await store.KeepAsync(Result(1), default);
        var file = Directory.GetFiles(_directory.Path).Single();
        await File.WriteAllBytesAsync(file, [0xff, 0xff, 0xff]);
        Assert.Empty(await store.LoadAsync(default));
        Assert.True(File.Exists(file + ".broken"));
    }

    private static PendingResult Result(long fence)
    {
        var submission = TestPlans.Submission("s-1");
        var input = new ArtifactRef(Digest.OfText("in"), ArtifactKind.File, 3, "gguf", "in.gguf");
        var job = new ReadyJob(submission.Plan.Jobs[TestPlans.Pass], TestPlans.Map(("model", input)), Digest.OfText("action"));
        var lease = new Lease(job, "s-1", 1, fence, "cpu", TimeSpan.FromMinutes(1), TimeSpan.FromHours(1));
        return new PendingResult(lease, TestPlans.Succeed(lease));
    }
}
