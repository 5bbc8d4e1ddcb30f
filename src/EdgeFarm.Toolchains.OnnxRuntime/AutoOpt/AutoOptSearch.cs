using System.Diagnostics;
using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What a search may spend.</summary>
/// <param name="MaxForms">Most forms that are made.</param>
/// <param name="MaxTime">Time after which no further form is made.</param>
internal sealed record SearchLimits(int MaxForms, TimeSpan MaxTime);

/// <summary>What a search found.</summary>
/// <param name="Choice">The form.</param>
/// <param name="Trials">All forms with their last figures, the source first.</param>
/// <param name="Excluded">What was not tried.</param>
/// <param name="Single">The best single pass; null where none keeps the goal.</param>
/// <param name="AgainstSource">The choice's time against the source's, side by side in the end; null where it is the source.</param>
/// <param name="AgainstSingle">The same against the best single pass; null where the choice is that.</param>
internal sealed record SearchResult(
    Choice Choice, IReadOnlyList<Trial> Trials, IReadOnlyList<Exclusion> Excluded, Trial? Single, LatencyRatio? AgainstSource, LatencyRatio? AgainstSingle)
{
    /// <summary>The form that was chosen at first and turned out slower side by side; null where none was.</summary>
    public Trial? GaveWay { get; init; }
}

/// <summary>
/// Makes the planned forms, judges and measures them, refines the plan once by what came of it, and has a choice made. What is decided is
/// decided by <see cref="AutoOptPlanner"/> and <see cref="AutoOptSelection"/>; this class only does what they say.
/// </summary>
/// <param name="sourcePath">The source.</param>
/// <param name="folder">Where forms are written.</param>
/// <param name="problem">What is wanted.</param>
/// <param name="judge">Knows the source's outputs.</param>
/// <param name="settings">How sessions are made.</param>
/// <param name="calibration">Samples for the candidates' passes; null for random ones.</param>
/// <param name="dims">Declared shapes of inputs, for those random samples.</param>
/// <param name="limits">What may be spent.</param>
/// <param name="context">Threads, log, cancellation.</param>
internal sealed class AutoOptSearch(
    string sourcePath, string folder, AutoOptProblem problem, FormJudge judge, OrtSettings settings, CalibrationData? calibration,
    IReadOnlyDictionary<string, long[]> dims, SearchLimits limits, PassContext context)
{
    // Few rounds tell who is out of the question, more who is ahead, the last ones decide. A busy machine takes the whole time that it is given.
    private const int FirstRounds = 9, MoreRounds = 24, LastRounds = 30;
    private static readonly TimeSpan FirstLimit = TimeSpan.FromSeconds(3), MoreLimit = TimeSpan.FromSeconds(8), LastLimit = TimeSpan.FromSeconds(20);

    private const double PlannedPart = 0.5, MadePart = 0.8;

    private readonly List<Trial> _trials = [];
    private readonly List<Exclusion> _excluded = [];
    private readonly Dictionary<Candidate, (string Path, OnnxOptimizeResult Made)> _made = [];
    private readonly PairedTimer _timer = new(judge.Timed, settings, context.Cancellation);
    private readonly long _start = Stopwatch.GetTimestamp();

    /// <summary>Runs it.</summary>
    public SearchResult Run()
    {
        _trials.Add(new Trial(Candidate.Source)
        {
            Bytes = BytesOf(sourcePath),
            Quality = judge.Source,
            Degradation = 0,
            MeetsGoal = true,
            Latency = LatencyRatio.Same,
        });
        Try(AutoOptPlanner.Plan(problem), 0, PlannedPart);
        Try(AutoOptPlanner.Refine(problem, _trials), PlannedPart, MadePart);
        var objective = problem.Goal.Objective;
        var contenders = AutoOptSelection.Contenders(_trials, objective);
        if (contenders.Count > 1 || objective == Objective.Size)
        {
            foreach (var contender in contenders)
            {
                context.Progress(MadePart, $"measuring {contender.Candidate.Name}");
                Time(contender, MoreRounds, MoreLimit);
            }
        }

        var choice = AutoOptSelection.Choose(_trials, objective);
        var single = AutoOptSelection.BestSingle(_trials, objective);
        var (againstSource, againstSingle) = (default(LatencyRatio), default(LatencyRatio));
        var first = choice.Trial;
        if (!first.Candidate.IsSource)
        {
            (choice, againstSource, againstSingle) = Confirm(choice, single);
        }

        var gaveWay = choice.Trial.Candidate == first.Candidate ? null : first;
        return new SearchResult(AutoOptSelection.LastResort(choice, _trials), _trials, _excluded, single, againstSource, againstSingle) { GaveWay = gaveWay };
    }

    /// <summary>The file of a form that was made, and how.</summary>
    public (string Path, OnnxOptimizeResult Made) Made(Trial trial) => _made[trial.Candidate];

    // The work of the plan is the part of all from one fraction to another.
    private void Try(AutoOptPlan plan, double from, double to)
    {
        _excluded.AddRange(plan.Excluded);
        for (var i = 0; i < plan.Candidates.Count; i++)
        {
            var candidate = plan.Candidates[i];
            context.Progress(from + ((to - from) * i / plan.Candidates.Count), $"making {candidate.Name}");
            context.Cancellation.ThrowIfCancellationRequested();
            if (_trials.Count > limits.MaxForms)
            {
                _excluded.Add(new Exclusion(candidate.Name, $"{limits.MaxForms} forms were made already, which is max_forms"));
            }
            else if (Stopwatch.GetElapsedTime(_start) > limits.MaxTime)
            {
                _excluded.Add(new Exclusion(candidate.Name, string.Create(CultureInfo.InvariantCulture, $"the search took {limits.MaxTime.TotalSeconds:0} s by then, which is max_seconds")));
            }
            else
            {
                var trial = Make(candidate);
                _trials.Add(trial);
                if (trial.MeetsGoal && problem.Goal.Objective == Objective.Latency)
                {
                    Time(trial, FirstRounds, FirstLimit);
                }

                context.Log(Describe(_trials[^1]));
            }
        }
    }

    private Trial Make(Candidate candidate)
    {
        var start = Stopwatch.GetTimestamp();
        var path = Path.Combine(folder, $"form-{_made.Count}-{_trials.Count}.onnx");
        context.Log($"making {candidate.Name}: {candidate.Recipe}");
        var outcome = OnnxOptimizer.Run(
            new OnnxOptimizeRequest(sourcePath, path, candidate.Steps) { Calibration = calibration, Dims = dims, Threads = context.Threads, Provider = settings.Provider }, context.Log, context.Cancellation);
        context.Cancellation.ThrowIfCancellationRequested();
        if (!outcome.IsOk)
        {
            return Failed(candidate, outcome.Failure!, start);
        }

        var made = outcome.Value;
        if (made.NotLoaded is { } unloaded && problem.Processor.IsCpu)
        {
            return new Trial(candidate) { Failure = unloaded, Bytes = made.OutputBytes, Seconds = Elapsed(start) };
        }

        try
        {
            using var session = OrtSession.Load(path, settings with { AllowSpinning = false });
            var quality = judge.Judge(session);
            var lost = problem.Goal.Degradation(quality, judge.Source);
            var trial = new Trial(candidate) { Bytes = made.OutputBytes, Quality = quality, Degradation = lost, MeetsGoal = problem.Goal.Allows(lost), Seconds = Elapsed(start) };
            if (trial.MeetsGoal)
            {
                _made[candidate] = (path, made);
            }
            else
            {
                made.Files.ToList().ForEach(File.Delete);
            }

            return trial;
        }
        catch (FailureException e)
        {
            return Failed(candidate, e.Failure, start);
        }
    }

    // What a pass refuses is a finding; that a file is gone or memory is out is one about this form alone, too.
    private static Trial Failed(Candidate candidate, Failure failure, long start) => new(candidate) { Failure = failure.Message, Seconds = Elapsed(start) };

    private void Time(Trial trial, int rounds, TimeSpan limit)
    {
        var at = _trials.FindIndex(t => t.Candidate == trial.Candidate);
        try
        {
            var seconds = _timer.Measure([PathOf(trial), sourcePath], rounds, limit);
            _trials[at] = _trials[at] with { Latency = LatencyRatio.Of(seconds[0], seconds[1]) };
        }
        catch (FailureException e)
        {
            _trials[at] = _trials[at] with { Failure = e.Failure.Message, MeetsGoal = false };
        }
    }

    private (Choice Choice, LatencyRatio? AgainstSource, LatencyRatio? AgainstSingle) Confirm(Choice choice, Trial? single)
    {
        context.Progress(MadePart, "measuring the choice side by side");
        var rival = single is not null && single.Candidate != choice.Trial.Candidate ? single : null;
        string[] paths = rival is null ? [PathOf(choice.Trial), sourcePath] : [PathOf(choice.Trial), sourcePath, PathOf(rival)];
        var seconds = _timer.Measure(paths, LastRounds, LastLimit);
        var source = LatencyRatio.Of(seconds[0], seconds[1]);
        var one = rival is null ? null : LatencyRatio.Of(seconds[0], seconds[2]);
        if (problem.Goal.Objective == Objective.Size)
        {
            return (choice, source, one);
        }

        var rivals = new List<(Trial, LatencyRatio)> { (_trials[0], source) };
        if (rival is not null)
        {
            rivals.Add((rival, one!));
        }

        var confirmed = AutoOptSelection.Confirm(choice, rivals);
        if (confirmed.Trial == choice.Trial)
        {
            return (confirmed, source, one);
        }

        return confirmed.Trial.Candidate.IsSource ? (confirmed, null, null) : (confirmed, LatencyRatio.Of(seconds[2], seconds[1]), null);
    }

    private string PathOf(Trial trial) => trial.Candidate.IsSource ? sourcePath : _made[trial.Candidate].Path;

    private string Describe(Trial trial) => trial.Failure is { } failure ? $"{trial.Candidate.Name}: {failure}"
        : string.Create(CultureInfo.InvariantCulture, $"{trial.Candidate.Name}: {trial.Bytes} bytes, lost {trial.Degradation:0.#####} of {problem.Goal.MetricName}{(trial.Latency is { } l ? $", time {l} of the source's" : "")}");

    private static long BytesOf(string path)
    {
        var data = new FileInfo(path + ".data");
        return new FileInfo(path).Length + (data.Exists ? data.Length : 0);
    }

    private static double Elapsed(long start) => Stopwatch.GetElapsedTime(start).TotalSeconds;
}
