using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using EdgeFarm.Actors;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Leaderboard;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Server.Tests.Support;

/// <summary>The edge's counterpart: keeps sweeps as submitted, and ends their jobs when a test says so.</summary>
internal sealed class InMemoryFarm : IFarm, IFarmQueries, IResultCache
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, State> _sweeps = new(StringComparer.Ordinal);

    public List<SweepSubmission> Submissions { get; } = [];

    public List<LeaderboardEntry> Entries { get; } = [];

    public List<WorkerView> Workers { get; } = [];

    public Dictionary<Digest, JobOutcome> Cached { get; } = [];

    /// <summary>Thrown by the next call of the farm.</summary>
    public Exception? Fault { get; set; }

    public Task<Outcome<SweepView>> SubmitAsync(SweepSubmission submission, CancellationToken cancellationToken)
    {
        ThrowFault();
        lock (_gate)
        {
            if (Submissions.FirstOrDefault(s => s.RequestId == submission.RequestId) is { } known)
            {
                return Task.FromResult(known.ContentDigest == submission.ContentDigest
                    ? Outcome<SweepView>.Ok(_sweeps[known.Id].View)
                    : Failure.InvalidInput($"request id '{submission.RequestId}' was used before for other content"));
            }

            Submissions.Add(submission);
            var state = new State(submission);
            _sweeps.Add(submission.Id, state);
            return Task.FromResult(Outcome<SweepView>.Ok(state.View));
        }
    }

    /// <summary>Ends every job of a sweep in order and then the sweep.</summary>
    public void Finish(string sweep, Func<JobView, JobView>? change = null)
    {
        lock (_gate)
        {
            _sweeps[sweep].Finish(change ?? (j => j with { Status = JobStatus.Succeeded }));
        }
    }

    public Task<Outcome<SweepView>> CancelAsync(string sweep, string reason, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            _sweeps[sweep].Finish(j => j with { Status = JobStatus.Cancelled }, SweepStatus.Cancelled);
            return Task.FromResult(Outcome<SweepView>.Ok(_sweeps[sweep].View));
        }
    }

    public Task<Outcome<int>> RetryAsync(string sweep, FailureType? type, CancellationToken cancellationToken) =>
        Task.FromResult(Outcome<int>.Ok(_sweeps[sweep].Jobs.Values.Count(j =>
            j.Status is JobStatus.Failed && (type is null || j.Attempts.Any(a => a.Failure?.Type == type)))));

    public Task<Outcome<SweepChange>> SnapshotAsync(string sweep, ImmutableArray<string> jobs, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            return Task.FromResult(_sweeps.TryGetValue(sweep, out var state)
                ? Outcome<SweepChange>.Ok(state.Snapshot() is var all && jobs.IsEmpty ? all : all with { Jobs = [.. all.Jobs.Where(j => jobs.Contains(j.Id))] })
                : Failure.InvalidInput($"no sweep {sweep}"));
        }
    }

    public async IAsyncEnumerable<SweepChange> WatchAsync(string sweep, long? after, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Channel<SweepChange> channel;
        lock (_gate)
        {
            channel = _sweeps[sweep].Subscribe(after);
        }

        await foreach (var change in channel.Reader.ReadAllAsync(cancellationToken))
        {
            yield return change;
        }
    }

    public Task<Outcome<JobExplanation>> ExplainAsync(string jobId, CancellationToken cancellationToken)
    {
        var job = _sweeps.GetValueOrDefault(JobSpec.SweepOf(jobId)!)?.Jobs.GetValueOrDefault(jobId);
        return Task.FromResult(job is null
            ? Failure.InvalidInput($"no job {jobId}")
            : Outcome<JobExplanation>.Ok(new JobExplanation(
                job,
                new WaitExplanation(jobId, 1, "no worker has arch = arm64", [new NearWorker("w1", [new Lack("arch = arm64", "x64")], "")]),
                [],
                [new("kind", "Benchmark")])));
    }

    public Task<FleetView> FleetAsync(CancellationToken cancellationToken)
    {
        ThrowFault();
        return Task.FromResult(new FleetView(
            [.. Workers],
            ImmutableSortedDictionary<string, int>.Empty.Add("cpu-x64", 2),
            ImmutableSortedDictionary<string, int>.Empty,
            TimeSpan.Zero));
    }

    /// <summary>What scalers are told.</summary>
    public Func<ImmutableArray<WorkerTemplate>, FleetDemand> Demand { get; set; } = t => new FleetDemand([.. t.Select(c => new ClassDemand(c.DeviceClass, 0, 0))], 0);

    public Task<FleetDemand> DemandAsync(ImmutableArray<WorkerTemplate> templates, CancellationToken cancellationToken)
    {
        ThrowFault();
        return Task.FromResult(Demand(templates));
    }

    public Task<Page<SweepView>> ListSweepsAsync(int pageSize, string pageToken, CancellationToken cancellationToken) =>
        Task.FromResult(PageOf(_sweeps.Values.Reverse().Select(s => s.View), pageSize, pageToken));

    public Task<SweepView?> FindSweepAsync(string id, CancellationToken cancellationToken) => Task.FromResult(_sweeps.GetValueOrDefault(id)?.View);

    public Task<string?> FindYamlAsync(string sweepId, CancellationToken cancellationToken) =>
        Task.FromResult(_sweeps.GetValueOrDefault(sweepId)?.Submission.Yaml);

    public Task<IReadOnlyDictionary<string, ArtifactRef>> FindSourcesAsync(string sweepId, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyDictionary<string, ArtifactRef>>(_sweeps.TryGetValue(sweepId, out var sweep) ? sweep.Submission.Sources : new Dictionary<string, ArtifactRef>());

    public Task<Page<JobView>> ListJobsAsync(string sweep, bool failedOnly, int pageSize, string pageToken, CancellationToken cancellationToken) =>
        Task.FromResult(PageOf(_sweeps[sweep].InOrder.Where(j => !failedOnly || j.Status is JobStatus.Failed), pageSize, pageToken));

    public Task<JobView?> FindJobAsync(string jobId, CancellationToken cancellationToken) =>
        Task.FromResult(_sweeps.GetValueOrDefault(JobSpec.SweepOf(jobId)!)?.Jobs.GetValueOrDefault(jobId));

    public Task<Page<LeaderboardEntry>> QueryLeaderboardAsync(LeaderboardQuery query, CancellationToken cancellationToken) => Task.FromResult(PageOf(
        Entries.Where(e => (query.Sweep ?? e.Sweep) == e.Sweep && (query.Form ?? e.Form) == e.Form && (!query.ParetoOnly || e.Pareto))
            .OrderByDescending(e => query.Sort is null ? 0 : e.Metrics.GetValueOrDefault(query.Sort)?.Value),
        query.PageSize,
        query.PageToken));

    public Task<LeaderboardEntry?> FindEntryAsync(string id, CancellationToken cancellationToken) =>
        Task.FromResult(Entries.Where(e => e.Id.StartsWith(id, StringComparison.Ordinal)).ToArray() is [var only] ? only : null);

    public Task<ImmutableArray<LeaderboardEntry>> EntryHistoryAsync(string id, CancellationToken cancellationToken) =>
        Task.FromResult(Entries.Where(e => e.Id == id).ToImmutableArray());

    public Task CaughtUpAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task<ImmutableDictionary<Digest, JobOutcome>> LookupAsync(IReadOnlyCollection<Digest> actions, CancellationToken cancellationToken) =>
        Task.FromResult(actions.Where(Cached.ContainsKey).Distinct().ToImmutableDictionary(a => a, a => Cached[a]));

    public Task<ImmutableArray<(string Component, string Here, string There)>> NearestAsync(
        ImmutableArray<KeyValuePair<string, string>> components, CancellationToken cancellationToken) =>
        Task.FromResult(ImmutableArray.Create((components[0].Key, components[0].Value, "another")));

    /// <summary>A worker that can do everything that the test catalog knows.</summary>
    public static WorkerView Worker(string name, string host = "host-1", string arch = "x64") => new(
        new WorkerCapability(
            host,
            name,
            ImmutableSortedDictionary.CreateRange(
                StringComparer.Ordinal,
                [
                    KeyValuePair.Create("os", PropertyValue.Of("linux")),
                    KeyValuePair.Create("arch", PropertyValue.Of(arch)),
                    KeyValuePair.Create("memory.total", PropertyValue.Of(16e9)),
                    KeyValuePair.Create("cpu.features", PropertyValue.Of(["avx2", "fma"])),
                ]),
            ImmutableSortedDictionary<string, string>.Empty.Add("rack", "7"),
            [new Device("cpu", "cpu", ImmutableSortedDictionary<string, PropertyValue>.Empty, 16_000_000_000, "a cpu")],
            [.. TestCatalog.Value.Runtimes.Select(r => new RuntimeInfo(r.Identity, "haswell", "", r.Reads, ["cpu"]))],
            [.. TestCatalog.Value.Toolchains.Select(t => new ToolchainInfo(t.Identity, [.. t.Passes.Select(p => p.Type)]))],
            2),
        "session",
        DateTimeOffset.UnixEpoch,
        false,
        [],
        2,
        ImmutableSortedDictionary<string, string>.Empty.Add("cpu", "cpu-x64"));

    /// <summary>A measured row.</summary>
    public static LeaderboardEntry Entry(string id, string form, double speed, bool baseline = false) => new()
    {
        Id = id,
        Sweep = "tiny",
        Labels = ImmutableSortedDictionary<string, string>.Empty.Add("commit", "1a2b3c"),
        Model = "edgefarm-tiny",
        Toolchain = "llama.cpp",
        Runtime = "llama.cpp",
        Form = form,
        Recipe = [new PassStep("GgufQuantization", ImmutableSortedDictionary<string, string>.Empty.Add("type", form))],
        Baseline = baseline,
        BaselineId = "tiny/e1",
        Target = "any",
        Host = "host-1",
        Worker = "w1",
        Device = "cpu",
        DeviceClass = "cpu-x64",
        Pareto = !baseline,
        MeasuredAt = DateTimeOffset.UnixEpoch,
        Environment = ImmutableSortedDictionary<string, PropertyValue>.Empty.Add("cpu.model", PropertyValue.Of("a cpu")),
        Metrics = ImmutableSortedDictionary<string, MetricValue>.Empty.Add(
            "tg",
            new MetricValue("tg", speed, "tokens/s", Better.Higher, 3, "llama.cpp")
            {
                Mean = speed,
                StdDev = 1,
                Ci95Low = speed - 2,
                Ci95High = speed + 2,
                P50 = speed,
                P99 = double.NaN,
                Samples = [speed - 1, speed, speed + 1],
            }),
        Relative = ImmutableSortedDictionary<string, double>.Empty.Add("tg", baseline ? 1 : double.PositiveInfinity),
    };

    private void ThrowFault()
    {
        if (Fault is { } fault)
        {
            Fault = null;
            throw fault;
        }
    }

    private static Page<T> PageOf<T>(IEnumerable<T> rows, int size, string token)
    {
        var skip = token.Length == 0 ? 0 : int.Parse(token, System.Globalization.CultureInfo.InvariantCulture);
        var all = rows.ToArray();
        return new Page<T>([.. all.Skip(skip).Take(size)], skip + size < all.Length ? $"{skip + size}" : "");
    }

    /// <summary>One sweep; guarded by the farm's gate.</summary>
    private sealed class State
    {
        private readonly List<Channel<SweepChange>> _watchers = [];
        private readonly List<SweepChange> _changes = [];

        public State(SweepSubmission submission)
        {
            Submission = submission;
            foreach (var job in submission.Plan.Jobs)
            {
                Jobs[job.Id] = new JobView(
                    job.Id, submission.Id, job.Kind, job.Operation, job.Engine.Id, job.Model, job.Form ?? "", job.Target ?? "",
                    JobStatus.Waiting, [], false, 0, "", default, ImmutableSortedDictionary<string, ArtifactRef>.Empty);
            }
        }

        public SweepSubmission Submission { get; }

        public Dictionary<string, JobView> Jobs { get; } = new(StringComparer.Ordinal);

        public IEnumerable<JobView> InOrder => Submission.Plan.Jobs.Select(j => Jobs[j.Id]);

        public SweepStatus Status { get; private set; } = SweepStatus.Running;

        public SweepView View => new(
            Submission.Id,
            Submission.Spec.Name,
            "",
            Submission.Spec.Labels,
            Status,
            Jobs.Values.GroupBy(j => j.Status).ToImmutableSortedDictionary(g => g.Key, g => g.Count()),
            0,
            DateTimeOffset.UnixEpoch,
            Status is SweepStatus.Running ? null : DateTimeOffset.UnixEpoch.AddSeconds(7));

        public SweepChange Snapshot() => new(_changes.Count, View, [.. InOrder], true);

        public Channel<SweepChange> Subscribe(long? after)
        {
            var channel = Channel.CreateUnbounded<SweepChange>();
            var known = after is { } last && last <= _changes.Count;
            foreach (var change in known ? _changes.Skip((int)after!.Value) : [Snapshot()])
            {
                channel.Writer.TryWrite(change);
            }

            if (Status is SweepStatus.Running)
            {
                _watchers.Add(channel);
            }
            else
            {
                channel.Writer.Complete();
            }

            return channel;
        }

        public void Finish(Func<JobView, JobView> change, SweepStatus? status = null)
        {
            foreach (var job in InOrder.ToArray())
            {
                Jobs[job.Id] = change(job);
                Publish(Jobs[job.Id]);
            }

            Status = status ?? (Jobs.Values.All(j => j.Status is JobStatus.Succeeded) ? SweepStatus.Completed : SweepStatus.Partial);
            Publish();
            _watchers.ForEach(w => w.Writer.Complete());
            _watchers.Clear();
        }

        private void Publish(params ReadOnlySpan<JobView> changed)
        {
            var change = new SweepChange(_changes.Count + 1, View, [.. changed], false);
            _changes.Add(change);
            _watchers.ForEach(w => w.Writer.TryWrite(change));
        }
    }
}
