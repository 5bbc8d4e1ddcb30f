using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;
using static EdgeFarm.Core.Tests.TestFarm;

namespace EdgeFarm.Core.Tests.Dispatch;

public sealed class ExclusivityTests
{
    private readonly Harness _farm = new();

    [Fact]
    public void A_benchmark_owns_its_machine_whichever_worker_asks()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Link(Capability("v", "h"));
        _farm.Queue(Benchmark("s/0", "g|0"), Benchmark("s/1", "k|0"), Job("s/2"));
        Assert.Equal(["s/0"], _farm.Leased);
        Assert.Contains("host h is kept for benchmarks", _farm.State.Explain("s/2", _farm.Now).Reason, StringComparison.Ordinal);

        _farm.Finish(_farm.Lease("s/0"), 2, true);
        Assert.Equal(["s/0", "s/1"], _farm.Leased);
        _farm.Finish(_farm.Lease("s/1"), 2, true);
        Assert.Equal(["s/0", "s/1", "s/2"], _farm.Leased);
    }

    [Fact]
    public void From_recorded_times_no_job_overlapped_a_benchmark_on_its_host()
    {
        var times = new List<(string Host, bool Exclusive, int From, int To)>();
        string[] workers = ["w1", "w2", "v1"];
        Dictionary<string, string> hosts = new() { ["w1"] = "h", ["w2"] = "h", ["v1"] = "k" };
        foreach (var worker in workers)
        {
            _farm.Link(Capability(worker, hosts[worker]));
        }

        _farm.Queue([.. Enumerable.Range(0, 60).Select(i => i % 3 == 0 ? Benchmark($"s/{i}", $"g{i % 4}|0") : Job($"s/{i}"))]);
        var running = new List<((string Link, Lease Lease) Given, int From)>();
        var seen = 0;
        for (var time = 0; time < 1000 && times.Count < 60; time++)
        {
            running.AddRange(_farm.Leases.Skip(seen).Select(l => (l, time)));
            seen = _farm.Leases.Count;
            var (given, from) = running[time * 7 % running.Count];
            running.Remove((given, from));
            times.Add((hosts[given.Link], given.Lease.Job.Spec.IsExclusive, from, time));
            var left = running.Count(r => r.Given.Link == given.Link);
            _farm.Finish(given, 2 - left, left == 0);
        }

        Assert.Equal(60, times.Count);
        Assert.All(times.Where(t => t.Exclusive), b => Assert.DoesNotContain(
            times, t => t != b && t.Host == b.Host && t.From <= b.To && b.From <= t.To));
    }

    [Fact]
    public void A_waiting_benchmark_keeps_one_host_free_and_lets_the_others_go_on()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Link(Capability("v", "k"));
        _farm.Queue(Job("s/0"), Job("s/1"), Job("s/2"), Job("s/3"));
        _farm.Queue(Benchmark("s/4", "g|0"), Job("s/5"), Job("s/6"));
        var first = _farm.Lease("s/0");
        _farm.Finish(first, 1, false);
        var other = _farm.Leases.First(l => l.Link != first.Link);
        _farm.Finish(other, 1, false);

        // One of the two hosts took a shared job again, the other is kept.
        Assert.Single(_farm.Leased, j => j is "s/5" or "s/6");
        var kept = _farm.Leases[^1].Link == "w" ? "v" : "w";
        _farm.Finish(_farm.Leases.Last(l => l.Link == kept), 2, true);
        Assert.Equal(kept, _farm.Lease("s/4").Link);
    }

    [Fact]
    public void Neither_benchmarks_nor_shared_jobs_starve()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue([.. Enumerable.Range(0, 40).Select(i => Benchmark($"s/{i}", "g|0"))]);
        _farm.Queue([.. Enumerable.Range(100, 6).Select(i => Job($"s/{i}"))]);
        for (var i = 0; i < _farm.Leases.Count; i++)
        {
            var later = _farm.Leases.Skip(i + 1).Count();
            _farm.Finish(_farm.Leases[i], 2 - later, later == 0);
        }

        Assert.Equal(46, _farm.Leases.Count);
        var order = _farm.Leases.Select(l => l.Lease.Job.Spec.IsExclusive).ToList();
        Assert.Equal(8, order.IndexOf(false));
        Assert.True(order.LastIndexOf(false) < 40);
    }

    [Fact]
    public void All_benchmarks_of_a_group_run_on_one_device()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Link(Capability("v", "k"));
        _farm.Queue(Benchmark("s/0", "g|0"), Benchmark("s/1", "g|0"), Benchmark("s/2", "k|0"));
        Assert.Equal(["s/0", "s/2"], _farm.Leased);
        Assert.NotEqual(_farm.Leases[0].Link, _farm.Leases[1].Link);
        Assert.Contains("to which its comparison is bound, is busy with a benchmark", _farm.State.Explain("s/1", _farm.Now).Reason, StringComparison.Ordinal);
        _farm.Finish(_farm.Lease("s/2"), 2, true);
        Assert.Equal(2, _farm.Leases.Count);
        _farm.Finish(_farm.Lease("s/0"), 2, true);
        Assert.Equal(_farm.Lease("s/0").Link, _farm.Lease("s/1").Link);
    }

    [Fact]
    public void Two_numbers_of_a_target_take_two_devices()
    {
        _farm.Link(Capability("w", "h", devices: "gpu:0"));
        _farm.Queue(Benchmark("s/0", "g|0"), Benchmark("s/1", "g|1"), Benchmark("s/2", "g|2"));
        _farm.Finish(_farm.Lease("s/0"), 2, true);
        _farm.Finish(_farm.Lease("s/1"), 2, true);
        Assert.Equal(["cpu", "gpu:0"], _farm.Leases.Select(l => l.Lease.DeviceId));
        Assert.Contains("another", _farm.State.Explain("s/2", _farm.Now).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void The_sweep_s_word_on_the_device_counts()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Benchmark("s/0", "g|0"), boundTo: new DeviceAddress("k", "cpu"))]));
        Assert.Empty(_farm.Leases);
        Assert.Contains("which is away", _farm.State.Explain("s/0", _farm.Now).Reason, StringComparison.Ordinal);
        _farm.Link(Capability("v", "k"));
        Assert.Equal("v", Assert.Single(_farm.Leases).Link);
    }

    [Fact]
    public void A_device_that_stays_away_is_reported_and_its_group_waits_for_the_sweep()
    {
        var away = new DeviceAddress("k", "cpu");
        _farm.Link(Capability("w", "h"));
        _farm.Do(new DispatchInput.JobsQueued([Queued(Benchmark("s/0", "g|0"), boundTo: away)]));
        Assert.Empty(_farm.Later(1));
        Assert.Equal([new DispatchEffect.NotifyDeviceLost("s", "g|0", away)], _farm.Later(60));
        _farm.Link(Capability("v", "k"));
        Assert.Empty(_farm.Leases);
        Assert.Equal([new DispatchEffect.NotifyDeviceLost("s", "g|0", away)], _farm.Later(10));

        _farm.Queue(Benchmark("s/0", "g|0+1"));
        Assert.Equal("s/0", Assert.Single(_farm.Leased));
    }

    [Fact]
    public void A_revoked_benchmark_keeps_its_machine_until_the_worker_confirms()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Link(Capability("v", "h"));
        _farm.Queue(Benchmark("s/0", "g|0"), Benchmark("s/1", "k|0"));
        var first = _farm.Lease("s/0");
        _farm.Do(new DispatchInput.JobsWithdrawn("s", ["s/0"]));
        Assert.Single(_farm.Leases);
        _farm.Do(new DispatchInput.LeaseReturned(first.Link, first.Lease.Key));
        Assert.Equal(["s/0", "s/1"], _farm.Leased);
    }

    [Fact]
    public void The_fleet_shows_what_runs_and_what_waits()
    {
        _farm.Link(Capability("w", "h"));
        _farm.Queue(Benchmark("s/0", "g|0"), Benchmark("s/1", "g|0"));
        _farm.Later(30);
        var view = _farm.State.View(_farm.Now);
        Assert.Equal("cpu-x64", Assert.Single(view.Workers).DeviceClasses["cpu"]);
        Assert.True(Assert.Single(view.Workers[0].Held).Exclusive);
        Assert.Equal(1, view.QueueDepth["cpu-x64"]);
        Assert.Equal(1, view.Leased["cpu-x64"]);
        Assert.Equal(TimeSpan.FromSeconds(30), view.OldestLease);
    }
}
