using System.Collections.Immutable;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Core.Workers;

namespace EdgeFarm.Simulation;

/// <summary>A mix of passes, benchmarks and evaluations on a fleet without faults.</summary>
/// <param name="Hosts">Machines; they take turns in the device classes.</param>
/// <param name="Slots">Shared slots of each.</param>
/// <param name="Sweeps">Sweeps submitted at once.</param>
/// <param name="Models">Models of each.</param>
/// <param name="Forms">Forms of each model.</param>
/// <param name="Classes">Device classes, each of which benchmarks every form.</param>
public sealed record Mix(int Hosts, int Slots, int Sweeps, int Models, int Forms, int Classes);

/// <summary>How long a mix takes in virtual time, and how long it must take at least.</summary>
internal sealed class Makespan
{
    private const double Import = 2;
    private const double Pass = 30;
    private const double Benchmark = 60;
    private const double Evaluation = 40;

    private static readonly EngineIdentity Tool = new("tool", "1", "");
    private static readonly ImmutableSortedDictionary<string, string> NoText = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    private readonly Mix _mix;
    private readonly Scheduler _scheduler = new();
    private readonly DispatchState _dispatcher = new(DispatchLimits.Embedded, DeviceClass.Defaults, 1);
    private readonly Dictionary<string, SweepState> _sweeps = [];
    private readonly Dictionary<string, WorkerState> _workers = [];

    private Makespan(Mix mix) => _mix = mix;

    /// <summary>Runs a mix; returns the time that it took and the greater of critical path, busiest devices and all work on all hosts, in seconds.</summary>
    public static (double Taken, double Ideal) Run(Mix mix)
    {
        var run = new Makespan(mix);
        for (var i = 0; i < mix.Hosts; i++)
        {
            run.Link($"w{i}", i % mix.Classes);
        }

        for (var i = 0; i < mix.Sweeps; i++)
        {
            run.Submit($"s{i}");
        }

        while (run._scheduler.Step())
        {
        }

        Assert.All(run._sweeps.Values, s => Assert.Equal(SweepStatus.Completed, s.Status));
        return (run._scheduler.Elapsed.TotalSeconds, Ideal(mix));
    }

    private static double Ideal(Mix mix)
    {
        var groups = mix.Sweeps * mix.Models;
        var group = mix.Forms * Benchmark;
        var critical = Import + Pass + group;
        var hostsOfClass = mix.Hosts / mix.Classes;
        var busiest = Math.Ceiling((double)groups / hostsOfClass) * group;
        var shared = groups * (Import + (mix.Forms * (Pass + Evaluation))) / mix.Slots;
        var everything = ((groups * group * mix.Classes) + shared) / mix.Hosts;
        return Math.Max(Math.Max(critical, busiest), everything);
    }

    private void Link(string name, int deviceClass)
    {
        var capability = new WorkerCapability(
            name,
            name,
            ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal).Add("class", PropertyValue.Of($"{deviceClass}")),
            NoText,
            [new Device("cpu", "cpu", ImmutableSortedDictionary.Create<string, PropertyValue>(StringComparer.Ordinal), 0, "")],
            [new RuntimeInfo(Tool, "", "", ["raw"], ["cpu"])],
            [new ToolchainInfo(Tool, ["Pass"])],
            _mix.Slots);
        _workers.Add(name, new WorkerState(_mix.Slots, []));
        Dispatch(new DispatchInput.WorkerLinked(name, "1", capability, []));
        Work(name, new WorkerInput.LinkUp(name));
    }

    private void Submit(string id)
    {
        var jobs = new List<JobSpec>();
        for (var model = 0; model < _mix.Models; model++)
        {
            var import = Add(jobs, id, JobKind.Import, null, null);
            for (var form = 0; form < _mix.Forms; form++)
            {
                var pass = Add(jobs, id, JobKind.Optimize, import, null);
                for (var deviceClass = 0; deviceClass < _mix.Classes; deviceClass++)
                {
                    Add(jobs, id, JobKind.Benchmark, pass, (model, deviceClass));
                }

                Add(jobs, id, JobKind.Evaluate, pass, null);
            }
        }

        var spec = new SweepSpec(id, NoText, [], [], [], [], NoText, []);
        var sources = ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal);
        _sweeps.Add(id, new SweepState(id));
        Decide(id, new SweepCommand.Submit(new SweepSubmission(id, "", default, "", "", spec, sources, new SweepPlan([.. jobs], [], []), true)));
    }

    private static JobSpec Add(List<JobSpec> jobs, string sweep, JobKind kind, JobSpec? producer, (int Model, int Class)? device)
    {
        var makes = kind is JobKind.Import or JobKind.Optimize;
        var job = new JobSpec
        {
            Id = JobSpec.MakeId(sweep, jobs.Count),
            Kind = kind,
            Operation = "Pass",
            Engine = Tool,
            Parameters = NoText.Add("job", JobSpec.MakeId(sweep, jobs.Count)),
            Inputs = producer is null ? [] : [new JobInput("model", InputSource.Of(producer.Id, "model"))],
            Outputs = makes ? ["model"] : [],
            Requirements = new JobRequirements(
                makes ? "tool" : null, null, makes ? null : "tool", null, device is { } on ? [new Requirement("class", $"{on.Class}")] : []),
            Model = "model",
            DeviceGroup = device is { } place ? $"{place.Model}|{place.Class}|0" : null,
        };
        jobs.Add(job);
        return job;
    }

    private void Decide(string sweep, SweepCommand command)
    {
        var state = _sweeps[sweep];
        var decision = state.Decide(command, _scheduler.Now);
        foreach (var effect in decision.Events.SelectMany(e => state.Apply(e)).Concat(decision.Effects).ToList())
        {
            if (effect is SweepEffect.Queue queue)
            {
                Dispatch(new DispatchInput.JobsQueued(queue.Jobs));
            }
            else if (effect is SweepEffect.Acknowledge acknowledge)
            {
                Dispatch(new DispatchInput.ResultsStored(sweep, acknowledge.Attempts));
            }
        }
    }

    private void Dispatch(DispatchInput input)
    {
        foreach (var effect in _dispatcher.Handle(input, _scheduler.Now))
        {
            switch (effect)
            {
                case DispatchEffect.SendLease lease:
                    Work(lease.Link, new WorkerInput.LeaseOffered(lease.Link, lease.Lease, lease.Sequence));
                    break;
                case DispatchEffect.SendAcknowledge acknowledge:
                    Work(acknowledge.Link, new WorkerInput.ResultAcknowledged(acknowledge.Key));
                    break;
                case DispatchEffect.Report report:
                    Decide(report.Sweep, new SweepCommand.Report([report.JobReport]));
                    break;
                default:
                    break;
            }
        }
    }

    private void Work(string worker, WorkerInput input)
    {
        foreach (var effect in _workers[worker].Handle(input, _scheduler.Now))
        {
            switch (effect)
            {
                case WorkerEffect.Start start:
                    _scheduler.After(TimeSpan.FromSeconds(Duration(start.Lease)), () => Work(worker, new WorkerInput.AttemptEnded(start.Lease.Key, Success(start.Lease))));
                    break;
                case WorkerEffect.KeepResult keep:
                    _scheduler.After(TimeSpan.Zero, () => Work(worker, new WorkerInput.ResultKept(keep.Result.Lease.Key)));
                    break;
                case WorkerEffect.SendCredit credit:
                    _scheduler.After(TimeSpan.Zero, () => Dispatch(new DispatchInput.CreditAnnounced(worker, credit.Credit)));
                    break;
                case WorkerEffect.SendResult result:
                    var lease = result.Result.Lease;
                    _scheduler.After(TimeSpan.Zero, () => Dispatch(new DispatchInput.ResultReported(
                        worker, lease.Sweep, lease.Key, result.Result.Outcome, lease.DeviceId, lease.Job.Action)));
                    break;
                default:
                    break;
            }
        }
    }

    private static double Duration(Lease lease) => lease.Job.Spec.Kind switch
    {
        JobKind.Import => Import,
        JobKind.Optimize => Pass,
        JobKind.Benchmark => Benchmark,
        _ => Evaluation,
    };

    private static JobOutcome Success(Lease lease)
    {
        var outputs = lease.Job.Spec.Outputs.ToImmutableSortedDictionary(
            o => o, o => new ArtifactRef(Digest.OfText(lease.Job.Spec.Id), ArtifactKind.File, 1, "raw", o), StringComparer.Ordinal);
        return new JobOutcome(new JobResult { Outputs = outputs }, null, default, default, default);
    }
}
