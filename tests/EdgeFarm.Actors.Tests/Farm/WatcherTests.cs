using System.Collections.Immutable;
using Akka.Actor;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Tests.Farm;

public sealed class WatcherTests : IAsyncLifetime
{
    private readonly ActorSystem _system = ActorSystem.Create("watcher");

    public Task InitializeAsync() => Task.CompletedTask;

    public Task DisposeAsync() => _system.Terminate();

    [Fact]
    public async Task A_client_that_falls_behind_gets_a_snapshot_in_the_place_of_what_it_missed()
    {
        using var sweeps = Inbox.Create(_system);
        var channel = WatcherActor.MakeChannel(capacity: 2);
        var watcher = _system.ActorOf(WatcherActor.Props(sweeps.Receiver, "s", null, channel.Writer));
        Assert.Null(Receive(sweeps).After);
        void Send(long sequence, bool isSnapshot = false) => watcher.Tell(new SweepChanged(Change(sequence, isSnapshot)), sweeps.Receiver);

        // Two fit; the others find no room.
        Send(1, isSnapshot: true);
        Send(2);
        Send(3);
        Send(4);
        using var limit = new CancellationTokenSource(Wait.Limit);
        await watcher.Ask<ActorIdentity>(new Identify(1), limit.Token);
        Assert.Equal((1, true), await NextAsync());

        // With room again it asks for everything, and hands on nothing before that has come.
        Assert.Null(Receive(sweeps).After);
        Send(5);
        Send(5, isSnapshot: true);
        Send(6);
        Assert.Equal((2, false), await NextAsync());
        Assert.Equal((5, true), await NextAsync());

        async Task<(long, bool)> NextAsync()
        {
            var change = await channel.Reader.ReadAsync(limit.Token);
            return (change.Sequence, change.IsSnapshot);
        }
    }

    [Fact]
    public async Task A_snapshot_of_more_parts_than_there_is_room_for_reaches_a_slow_client_whole()
    {
        using var sweeps = Inbox.Create(_system);
        var channel = WatcherActor.MakeChannel(capacity: 2);
        var watcher = _system.ActorOf(WatcherActor.Props(sweeps.Receiver, "s", null, channel.Writer));
        Assert.Null(Receive(sweeps).After);
        const int Parts = 9;
        for (var part = 1; part <= Parts; part++)
        {
            watcher.Tell(new SweepChanged(Change(part == Parts ? 7 : 0, isSnapshot: part == 1)), sweeps.Receiver);
        }

        watcher.Tell(new SweepChanged(Change(8, isSnapshot: false)), sweeps.Receiver);
        using var limit = new CancellationTokenSource(Wait.Limit);
        await watcher.Ask<ActorIdentity>(new Identify(1), limit.Token);
        var read = new List<long>();
        while (read.Count <= Parts)
        {
            read.Add((await channel.Reader.ReadAsync(limit.Token)).Sequence);
        }

        Assert.Equal([.. Enumerable.Repeat(0L, Parts - 1), 7, 8], read);
    }

    private static SweepMessages.Watch Receive(Inbox inbox) => Assert.IsType<SweepMessages.Watch>(inbox.Receive(Wait.Limit));

    private static SweepChange Change(long sequence, bool isSnapshot) => new(
        sequence,
        new SweepView("s", "s", "", ImmutableSortedDictionary<string, string>.Empty, SweepStatus.Running, ImmutableSortedDictionary<JobStatus, int>.Empty, 0, DateTimeOffset.UnixEpoch, null),
        [],
        isSnapshot);
}
