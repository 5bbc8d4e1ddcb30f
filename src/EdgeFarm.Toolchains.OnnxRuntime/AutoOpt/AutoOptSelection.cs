using System.Globalization;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What was chosen, and why.</summary>
/// <param name="Trial">The chosen form.</param>
/// <param name="Reason">In words for the user.</param>
internal sealed record Choice(Trial Trial, string Reason);

/// <summary>Chooses among forms that were made and measured. Pure.</summary>
internal static class AutoOptSelection
{
    // Sizes within so much of the smallest are the same: a name more in the file must not decide.
    private const double SameSize = 1.01;

    /// <summary>The forms that more measuring could still make the choice: those that keep the goal and are not worse than the best beyond doubt.</summary>
    public static IReadOnlyList<Trial> Contenders(IReadOnlyList<Trial> trials, Objective objective)
    {
        var kept = Keepers(trials);
        if (kept.Count == 0)
        {
            return kept;
        }

        if (objective == Objective.Size)
        {
            var smallest = kept.Min(t => t.Bytes);
            return [.. kept.Where(t => t.Bytes <= smallest * SameSize)];
        }

        var least = kept.Where(t => t.Latency is not null).Select(t => t.Latency!.High).DefaultIfEmpty(double.MaxValue).Min();
        return [.. kept.Where(t => t.Latency is null || t.Latency.Low <= least)];
    }

    /// <summary>
    /// The form that keeps the goal and is best by the objective; of those within its interval the smallest, then the simplest. The float
    /// model where every form that keeps the goal is slower than it.
    /// </summary>
    /// <param name="trials">All; the source among them, which always keeps the goal.</param>
    /// <param name="objective">What is minimized.</param>
    public static Choice Choose(IReadOnlyList<Trial> trials, Objective objective)
    {
        var kept = Keepers(trials);
        if (kept.Count == 0)
        {
            return Source(trials, "no form that could be made keeps the goal");
        }

        if (objective == Objective.Size)
        {
            var smallest = kept.Min(t => t.Bytes);
            if (smallest > trials.First(t => t.Candidate.IsSource).Bytes)
            {
                return Source(trials, "no form that keeps the goal is smaller than the source");
            }

            var same = kept.Where(t => t.Bytes <= smallest * SameSize).ToList();
            var size = Fastest(same);
            return new Choice(size, same.Count == 1 ? $"the smallest of {kept.Count} forms that keep the goal" : $"the fastest of {same.Count} forms of the least size, of {kept.Count} that keep the goal");
        }

        var measured = kept.Where(t => t.Latency is not null).ToList();
        if (measured.Count == 0)
        {
            return Source(trials, "no form that keeps the goal could be measured");
        }

        var fastest = Fastest(measured);
        if (fastest.Latency!.Low > 1)
        {
            return Source(trials, string.Create(CultureInfo.InvariantCulture, $"every form that keeps the goal is slower than the source; the fastest, {fastest.Candidate.Name}, takes {fastest.Latency} of its time"));
        }

        var beaten = measured.Min(t => t.Latency!.High);
        var tied = measured.Where(t => t.Latency!.Low <= beaten && t.Latency.Low <= 1).ToList();
        var least = tied.Min(t => t.Bytes);
        var chosen = tied.Where(t => t.Bytes <= least * SameSize).OrderBy(t => t.Candidate.Steps.Count).ThenBy(t => t.Latency!.Ratio).First();
        return chosen == fastest
            ? new Choice(chosen, $"the fastest of {measured.Count} forms that keep the goal{(tied.Count > 1 ? $", and the smallest or simplest of the {tied.Count} that are as fast within the interval" : "")}")
            : new Choice(chosen, $"as fast within the interval as the fastest, {fastest.Candidate.Name} ({fastest.Latency}), and {(chosen.Bytes * SameSize < fastest.Bytes ? "smaller" : "simpler")}");
    }

    /// <summary>The best form by the objective that is one pass; null where none keeps the goal.</summary>
    public static Trial? BestSingle(IReadOnlyList<Trial> trials, Objective objective)
    {
        var singles = Keepers(trials).Where(t => t.Candidate.IsSingle && (objective == Objective.Size || t.Latency is not null)).ToList();
        return singles.Count == 0 ? null : objective == Objective.Size ? singles.MinBy(t => t.Bytes) : Fastest(singles);
    }

    /// <summary>The choice after it was measured side by side with what it must not be slower than. Where it is beyond its interval, that is taken.</summary>
    /// <param name="choice">The choice.</param>
    /// <param name="rivals">The best single pass, the source, and the choice's time against each.</param>
    public static Choice Confirm(Choice choice, IReadOnlyList<(Trial Rival, LatencyRatio Against)> rivals)
    {
        var (rival, against) = rivals.Where(r => r.Against.Low > 1).OrderByDescending(r => r.Against.Ratio).FirstOrDefault();
        return rival is null
            ? choice
            : new Choice(rival, $"{choice.Trial.Candidate.Name} was chosen first, but side by side it takes {against} of the time of {(rival.Candidate.IsSource ? "the source" : rival.Candidate.Name)}");
    }

    /// <summary>Where the choice fell on the source: the same model as ONNX Runtime rewrites it, if that is at least not worse.</summary>
    public static Choice LastResort(Choice choice, IReadOnlyList<Trial> trials)
    {
        var source = choice.Trial;
        return source.Candidate.IsSource && Keepers(trials).FirstOrDefault(t => t.Candidate.Name == AutoOptPlanner.Optimized) is { } optimized
            && (optimized.Latency?.Low ?? 0) <= 1 && optimized.Bytes <= source.Bytes * SameSize
            ? choice with { Trial = optimized }
            : choice;
    }

    private static List<Trial> Keepers(IReadOnlyList<Trial> trials) => [.. trials.Where(t => t is { MeetsGoal: true, Failure: null } && !t.Candidate.IsSource)];

    private static Trial Fastest(List<Trial> trials) => trials.OrderBy(t => t.Latency?.Ratio ?? double.MaxValue).ThenBy(t => t.Candidate.Steps.Count).First();

    private static Choice Source(IReadOnlyList<Trial> trials, string reason) => new(trials.First(t => t.Candidate.IsSource), reason);
}
