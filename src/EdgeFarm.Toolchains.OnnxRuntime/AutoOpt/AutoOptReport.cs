using System.Globalization;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>Tells a search's result in words and figures. Pure.</summary>
internal static class AutoOptReport
{
    // Operators that the description of a model names.
    private const int NamedOperators = 4;

    /// <summary>The report, without what the chosen form's own passes add.</summary>
    public static PassReport Of(string pass, PassArguments arguments, AutoOptProblem problem, FormJudge judge, SearchResult found, CalibrationData? calibration)
    {
        var chosen = found.Choice.Trial;
        var trials = found.Trials.Select(t => ToTrial(t, found, problem.Goal)).ToList();
        var explanation = Explain(problem, judge.Samples, found, trials);
        var warnings = new List<string>();
        if (chosen.Candidate.IsSource || chosen.Candidate.Name == AutoOptPlanner.Optimized)
        {
            warnings.Add($"the model {(chosen.Candidate.IsSource ? "stands as it came" : "stays floating point, only rewritten")}: {found.Choice.Reason}");
        }

        if (calibration is null)
        {
            warnings.Add("chosen on random input, because no calibration data was given: what the form loses on real input is not known");
        }

        return new PassReport(pass, arguments.Values, [], [], explanation)
        {
            Chosen = chosen.Candidate.Name,
            PrecisionClass = chosen.Candidate.IsSource ? "full" : chosen.Candidate.Precision,
            Trials = trials,
            Excluded = [.. found.Excluded.Select(e => new ExcludedForm(e.Name, e.Reason))],
            Explanation = explanation,
            Figures = Figures(chosen, found, judge),
            Synthetic = calibration?.Synthetic ?? true,
            Warnings = warnings,
        };
    }

    private static SortedDictionary<string, double> Figures(Trial chosen, SearchResult found, FormJudge judge)
    {
        var figures = new SortedDictionary<string, double>(StringComparer.Ordinal)
        {
            ["judged_samples"] = judge.Samples,
            ["forms_made"] = found.Trials.Count(t => !t.Candidate.IsSource && t.Failure is null),
            ["size_ratio"] = (double)chosen.Bytes / Math.Max(1, found.Trials[0].Bytes),
        };
        Add("degradation", chosen.Degradation);
        Add("cosine", chosen.Quality?.Cosine);
        Add("accuracy", chosen.Quality?.Accuracy);
        Add("source_accuracy", judge.Source.Accuracy);
        AddRatio("latency_ratio", found.AgainstSource);
        AddRatio("latency_ratio_single", found.AgainstSingle);
        return figures;

        void AddRatio(string name, LatencyRatio? ratio)
        {
            Add(name, ratio?.Ratio);
            Add($"{name}_low", ratio?.Low);
            Add($"{name}_high", ratio?.High);
        }

        void Add(string name, double? value)
        {
            if (value is { } v && double.IsFinite(v))
            {
                figures[name] = v;
            }
        }
    }

    private static List<string> Explain(AutoOptProblem problem, int samples, SearchResult found, List<FormTrial> trials)
    {
        var (goal, chosen) = (problem.Goal, found.Choice.Trial);
        var lines = new List<string>
        {
            string.Create(CultureInfo.InvariantCulture, $"wanted: the least {(goal.Objective == Objective.Size ? "size" : "latency")} with at most {goal.MaxDegradation:0.######} of {goal.MetricName} lost on {samples} samples"),
            $"the model: {Model(problem.Graph)}; the processor: {Processor(problem.Processor)}",
            $"chosen: {chosen.Candidate.Name}{(chosen.Candidate.IsSource ? "" : $" ({chosen.Candidate.Recipe})")}: {found.Choice.Reason}",
        };
        if (found.AgainstSource is { } source)
        {
            lines.Add($"side by side with the source in the end: {source} of its time in {source.Rounds} rounds");
        }

        if (found.Single is { } single)
        {
            lines.Add(found.AgainstSingle is { } against
                ? $"side by side with the best single pass, {single.Candidate.Name}: {against} of its time in {against.Rounds} rounds"
                : $"the best single pass is {single.Candidate.Name}{(single.Candidate == chosen.Candidate ? ", which is the choice" : "")}");
        }

        lines.AddRange(trials.Select(t => $"tried {t.Form}: {t.Verdict}"));
        lines.AddRange(found.Excluded.Select(e => $"not tried {e.Name}: {e.Reason}"));
        return lines;
    }

    private static string Model(GraphTraits graph) => graph.TimeShares.Count > 0
        ? "its time goes to " + string.Join(", ", graph.TimeShares.OrderByDescending(t => t.Value).ThenBy(t => t.Key, StringComparer.Ordinal).Take(NamedOperators).Select(t => string.Create(CultureInfo.InvariantCulture, $"{t.Key} {t.Value:P0}")))
        : "where its time goes is not known";

    private static string Processor(ProcessorTraits processor) => !processor.IsCpu ? "an execution provider whose kernels are not known beforehand"
        : processor.Dots ? $"8-bit products with {processor.Instructions}" : "no instructions for 8-bit products (VNNI, AMX, dot product)";

    private static FormTrial ToTrial(Trial trial, SearchResult found, AutoOptGoal goal) => new(trial.Candidate.Name, trial.Candidate.Recipe, trial.Candidate.Reason, Verdict(trial, found, goal))
    {
        Bytes = trial.Bytes,
        Degradation = trial.Degradation,
        Cosine = trial.Quality?.Cosine,
        LatencyRatio = trial.Candidate.IsSource ? null : trial.Latency?.Ratio,
        LatencyInterval = trial.Candidate.IsSource || trial.Latency is null ? null : (trial.Latency.Low, trial.Latency.High),
        Seconds = Math.Round(trial.Seconds, 3),
    };

    private static string Verdict(Trial trial, SearchResult found, AutoOptGoal goal)
    {
        if (trial.Failure is { } failure)
        {
            return $"could not be made or run: {failure}";
        }

        var chosen = found.Choice.Trial;
        var figures = string.Create(
            CultureInfo.InvariantCulture,
            $"{trial.Bytes} bytes, {(trial.Degradation is { } lost ? $"{lost:0.######} of {goal.MetricName} lost" : $"no finite {goal.MetricName}")}{(trial.Latency is { Rounds: > 0 } latency ? $", {latency} of the source's time" : "")}");
        var verdict = trial switch
        {
            _ when trial.Candidate == chosen.Candidate => "chosen",
            _ when !trial.MeetsGoal => "misses the goal",
            _ when trial.Candidate == found.GaveWay?.Candidate => "chosen first, slower side by side",
            _ when trial.Candidate.IsSource => "what all others are held against",
            _ when goal.Objective == Objective.Size => trial.Bytes > chosen.Bytes ? "larger" : "no smaller",
            { Latency: { } own } when chosen.Latency is { } best && own.Low > best.High => "slower",
            _ => "no faster within the interval",
        };
        return $"{verdict}: {figures}";
    }
}
