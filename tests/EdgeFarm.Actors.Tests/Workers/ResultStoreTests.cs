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

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_torn_tail_is_set_aside_and_what_stands_before_it_is_kept(bool flipped)
    {
        var store = new DiskResultStore(_directory.Path);
        await store.KeepAsync(Result(1), default);
        var file = Directory.GetFiles(_directory.Path).Single();
        var whole = new FileInfo(file).Length;
        await store.KeepAsync(Result(2), default);
        var bytes = await File.ReadAllBytesAsync(file);
        if (flipped)
        {
            bytes[^1] ^= 1;
        }

        await File.WriteAllBytesAsync(file, flipped ? bytes : bytes[..^1]);

        store = new DiskResultStore(_directory.Path);
        Assert.Equal(1, Assert.Single(await store.LoadAsync(default)).Lease.Fence);
        Assert.True(File.Exists(file + ".broken"));
        Assert.Equal(whole, new FileInfo(file).Length);
        await store.KeepAsync(Result(3), default);
        Assert.Equal([1L, 3], (await new DiskResultStore(_directory.Path).LoadAsync(default)).Select(k => k.Lease.Fence));
    }

    [Fact]
    public async Task Results_kept_and_forgotten_at_once_stand_as_if_one_after_the_other()
    {
        var store = new DiskResultStore(_directory.Path);
        await Task.WhenAll(Enumerable.Range(1, 400).Select(f => Task.Run(async () =>
        {
            var result = Result(f);
            await store.KeepAsync(result, default);
            if (f % 4 != 0)
            {
                await store.ForgetAsync(result.Lease.Key, default);
            }
        })));

        var kept = await new DiskResultStore(_directory.Path).LoadAsync(default);
        Assert.Equal(Enumerable.Range(1, 100).Select(i => 4L * i), kept.Select(k => k.Lease.Fence).Order());
        await Task.WhenAll(kept.Select(k => store.ForgetAsync(k.Lease.Key, default)));
        Assert.Equal(0, new FileInfo(Directory.GetFiles(_directory.Path).Single()).Length);
    }

    [Fact]
    public async Task A_log_that_is_mostly_stale_is_rewritten()
    {
        var store = new DiskResultStore(_directory.Path);
        var large = Result(1);
        large = large with { Outcome = large.Outcome with { Result = large.Outcome.Result! with { Settings = TestPlans.Map(("text", new string('x', 1 << 20))) } } };
        await store.KeepAsync(large, default);
        for (var i = 0; i < 20; i++)
        {
            await store.KeepAsync(large, default);
        }

        Assert.InRange(new FileInfo(Path.Combine(_directory.Path, "results.log")).Length, 1 << 20, 9 << 20);
        Assert.Single(await new DiskResultStore(_directory.Path).LoadAsync(default));
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
