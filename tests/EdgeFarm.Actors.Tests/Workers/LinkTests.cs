using EdgeFarm.Actors.Tests.Farm;
using EdgeFarm.Actors.Workers;
using EdgeFarm.Core.Sweeps;
using Grpc.Core;
using Grpc.Net.Client;
using Link = EdgeFarm.Contracts.Link.V1;

namespace EdgeFarm.Actors.Tests.Workers;

/// <summary>The link as a stranger speaks it: raw messages on a real stream.</summary>
public sealed class LinkTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly CancellationTokenSource _limit = new(Wait.Limit);

    public void Dispose()
    {
        _directory.Dispose();
        _limit.Dispose();
    }

    [Theory]
    [InlineData(99u, "upgrade the farm")]
    [InlineData(0u, "upgrade the worker")]
    public async Task A_version_that_does_not_fit_is_refused_with_advice(uint version, string advice)
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var call = Open(channel);
        var hello = Hello();
        hello.ProtocolVersion = version;
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = hello });
        var refused = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(_limit.Token));
        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Contains(advice, refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_first_message_that_is_no_hello_is_refused()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var call = Open(channel);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Credit = new Link.Credit { Shared = 1 } });
        var refused = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(_limit.Token));
        Assert.Equal(StatusCode.InvalidArgument, refused.StatusCode);
    }

    [Fact]
    public async Task A_doubled_result_is_acknowledged_and_counts_once()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var call = Open(channel);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = Hello() });
        Assert.Equal(LinkProtocol.Version, (await NextAsync(call)).Welcome.ProtocolVersion);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Credit = new Link.Credit { Shared = 1 } });
        await farm.Farm.SubmitAsync(TestPlans.Submission("s-1"), default);

        var offer = (await NextAsync(call)).Lease;
        Assert.Equal(("s-1/0", 1L), (offer.Job.Id, offer.Sequence));
        var lease = LinkMapping.ToCore(offer);
        var result = new Link.WorkerMessage { Result = LinkMapping.ToLink(new EdgeFarm.Core.Workers.PendingResult(lease, TestPlans.Succeed(lease))) };
        await call.RequestStream.WriteAsync(result);
        await call.RequestStream.WriteAsync(result);
        Assert.Equal(lease.Key, LinkMapping.ToCore((await NextAsync(call)).Acknowledge.Key));
        await call.RequestStream.WriteAsync(result);
        Assert.Equal(lease.Key, LinkMapping.ToCore((await NextAsync(call)).Acknowledge.Key));

        var job = (await farm.Farm.SnapshotAsync("s-1", default)).Value.Jobs[0];
        Assert.Equal(JobStatus.Succeeded, job.Status);
        Assert.Single(job.Attempts);
    }

    [Fact]
    public async Task Nonsense_closes_the_link_and_the_farm_goes_on()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var call = Open(channel);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = Hello() });
        await NextAsync(call);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Result = new Link.Result() });
        Assert.False(await call.ResponseStream.MoveNext(_limit.Token));

        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), _directory.Path);
        await farm.Farm.SubmitAsync(TestPlans.Submission("s-1"), default);
        Assert.Equal(SweepStatus.Completed, (await farm.FinishAsync("s-1")).Sweep.Status);
    }

    [Fact]
    public async Task The_same_worker_that_links_again_replaces_its_old_link()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var first = await LinkAsync(farm, channel);
        using var second = Open(channel);
        await second.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = Hello() });
        await NextAsync(second);
        Assert.False(await first.ResponseStream.MoveNext(_limit.Token));
        Assert.Single((await farm.Farm.FleetAsync(default)).Workers);
    }

    [Fact]
    public async Task A_second_process_with_the_name_of_a_linked_worker_is_refused_and_told_what_to_do()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var first = await LinkAsync(farm, channel);

        using var second = Open(channel);
        var hello = Hello();
        hello.Session = "another process";
        await second.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = hello });
        var refused = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await second.ResponseStream.MoveNext(_limit.Token))
            {
            }
        });
        Assert.Equal(StatusCode.AlreadyExists, refused.StatusCode);
        Assert.Contains("--name", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal("session", Assert.Single((await farm.Farm.FleetAsync(default)).Workers).Session);

        // The first one is undisturbed, and the name is free when it has gone.
        await first.RequestStream.CompleteAsync();
        await Wait.UntilAsync(async () => (await farm.Farm.FleetAsync(default)).Workers.IsEmpty, "the first worker has gone");
        using var third = Open(channel);
        await third.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = hello });
        await Wait.UntilAsync(async () => (await farm.Farm.FleetAsync(default)).Workers.Length == 1, "the second process is linked");
    }

    [Fact]
    public async Task A_worker_one_version_older_is_served()
    {
        await using var farm = await TestFarm.StartAsync(_directory.Path);
        using var channel = GrpcChannel.ForAddress(farm.Url);
        using var call = Open(channel);

        // Version 1 knew no drain time.
        var hello = Hello();
        (hello.ProtocolVersion, hello.DrainTime) = (LinkProtocol.Version - 1, null);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = hello });
        Assert.Equal(Link.CoordinatorMessage.BodyOneofCase.Welcome, (await NextAsync(call)).BodyCase);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Credit = new Link.Credit { Shared = 1 } });
        await farm.Farm.SubmitAsync(TestPlans.Submission("s-1"), default);
        Assert.Equal("s-1/0", (await NextAsync(call)).Lease.Job.Id);
    }

    private AsyncDuplexStreamingCall<Link.WorkerMessage, Link.CoordinatorMessage> Open(GrpcChannel channel) =>
        new Link.WorkerLink.WorkerLinkClient(channel).Open(cancellationToken: _limit.Token);

    private static Link.Hello Hello() => LinkMapping.Hello(TestPlans.Capability("raw", "host-raw", slots: 1), "session", "test", []);

    /// <summary>A worker's link that the farm knows.</summary>
    private async Task<AsyncDuplexStreamingCall<Link.WorkerMessage, Link.CoordinatorMessage>> LinkAsync(TestFarm farm, GrpcChannel channel)
    {
        var call = Open(channel);
        await call.RequestStream.WriteAsync(new Link.WorkerMessage { Hello = Hello() });
        await NextAsync(call);
        await Wait.UntilAsync(async () => (await farm.Farm.FleetAsync(default)).Workers.Length == 1, "the worker is linked");
        return call;
    }

    private async Task<Link.CoordinatorMessage> NextAsync(AsyncDuplexStreamingCall<Link.WorkerMessage, Link.CoordinatorMessage> call)
    {
        Assert.True(await call.ResponseStream.MoveNext(_limit.Token));
        return call.ResponseStream.Current.BodyCase == Link.CoordinatorMessage.BodyOneofCase.Ping ? await NextAsync(call) : call.ResponseStream.Current;
    }
}
