using System.Diagnostics;
using System.Globalization;

namespace EdgeFarm.Simulation;

/// <summary>
/// <c>--seed N</c> prints one simulation; <c>--seeds N [--from S]</c> runs many and stops at the first that fails;
/// <c>--mutations</c> tells how soon each decider that was broken on purpose is caught, and by what.
/// </summary>
internal static class Program
{
    private const string Usage = "usage: --seed N | --seeds N [--from S] | --mutations";

    private static int Main(string[] arguments)
    {
        if (Option(arguments, "--seed") is { } seed)
        {
            var verdict = World.Run(seed, log: Console.Out.WriteLine);
            Console.Out.WriteLine(Summary(verdict));
            return verdict.Violation is null ? 0 : 1;
        }

        if (Option(arguments, "--seeds") is { } count)
        {
            return RunMany(Option(arguments, "--from") ?? 1, count);
        }

        if (arguments is ["--mutations"])
        {
            return RunMutations();
        }

        Console.Error.WriteLine(Usage);
        return 2;
    }

    private static ulong? Option(string[] arguments, string name)
    {
        var at = Array.IndexOf(arguments, name);
        return at >= 0 && at + 1 < arguments.Length && ulong.TryParse(arguments[at + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : null;
    }

    private static int RunMany(ulong from, ulong count)
    {
        var watch = Stopwatch.StartNew();
        var gate = new Lock();
        Verdict? failed = null;
        long done = 0, steps = 0, starts = 0, crashes = 0;
        Parallel.For(0L, (long)count, (i, loop) =>
        {
            var verdict = World.Run(from + (ulong)i);
            lock (gate)
            {
                done++;
                steps += verdict.Steps;
                starts += verdict.Starts;
                crashes += verdict.Crashes;
                if (verdict.Violation is not null && (failed is null || verdict.Seed < failed.Seed))
                {
                    failed = verdict;
                    loop.Stop();
                }
            }
        });
        Console.Out.WriteLine(
            $"{done} seeds, {steps} steps, {starts} attempts, {crashes} crashes in {watch.Elapsed.TotalSeconds:0.0} s ({done / watch.Elapsed.TotalSeconds:0} seeds/s)");
        if (failed is null)
        {
            return 0;
        }

        Console.Out.WriteLine(Summary(failed));
        Console.Out.WriteLine($"replay: --seed {failed.Seed}");
        return 1;
    }

    private static int RunMutations()
    {
        var survived = 0;
        foreach (var mutation in Mutation.All)
        {
            var verdict = Enumerable.Range(1, 1000).Select(seed => World.Run((ulong)seed, mutation)).FirstOrDefault(v => v.Violation is not null);
            survived += verdict is null ? 1 : 0;
            Console.Out.WriteLine(verdict is null ? $"{mutation.Name}: NOT CAUGHT" : $"{mutation.Name}: seed {verdict.Seed}: {verdict.Violation!.Split('\n')[0]}");
        }

        return survived == 0 ? 0 : 1;
    }

    private static string Summary(Verdict verdict) =>
        $"seed {verdict.Seed}: {verdict.Violation ?? "all well"} after {verdict.Elapsed.TotalSeconds:0.0} s of virtual time, {verdict.Steps} steps, {verdict.Starts} attempts, {verdict.Crashes} crashes";
}
