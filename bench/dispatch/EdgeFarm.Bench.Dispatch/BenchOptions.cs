namespace EdgeFarm.Bench.Dispatch;

/// <summary>What is measured.</summary>
/// <param name="Jobs">Sweep sizes for throughput, one after the other on one farm.</param>
/// <param name="WarmUp">Jobs of a sweep before the first that counts: the compiler settles after some ten thousands.</param>
/// <param name="Workers">Workers, each with a link of its own.</param>
/// <param name="Slots">Slots of a worker.</param>
/// <param name="PacedSeconds">How long the paced run lasts; 0 leaves it out.</param>
/// <param name="PacedRate">Jobs per second of the paced run.</param>
/// <param name="PostgreSql">Connection string; null takes a SQLite file.</param>
/// <param name="Coordinators">Coordinators, each a process of its own; more than one need PostgreSQL.</param>
/// <param name="Recover">A sweep of so many jobs is submitted, the coordinator killed, the time until its successor answers for the sweep measured; 0 leaves it out.</param>
/// <param name="Cached">A sweep of so many jobs is run twice; the second time all come from the cache; 0 leaves it out.</param>
/// <param name="Single">So many sweeps of one job each, submitted with a hundred calls in flight; 0 leaves them out.</param>
/// <param name="Directory">Where the farm's files lie; a fresh one when null.</param>
internal sealed record BenchOptions(
    int[] Jobs, int WarmUp, int Workers, int Slots, int PacedSeconds, int PacedRate, string? PostgreSql, int Coordinators, int Recover, int Cached, int Single, string? Directory)
{
    public static int Usage()
    {
        Console.Error.WriteLine(
            "usage: run [--jobs 1000,10000,100000] [--warm-up 20000] [--workers 10] [--slots 16] [--paced SECONDS] [--rate 1000] [--postgres CONNECTION [--coordinators N]] [--recover JOBS] [--cached JOBS] [--single JOBS] [--dir DIR]");
        return 2;
    }

    public static BenchOptions Parse(string[] args)
    {
        var options = new BenchOptions([1_000, 10_000, 100_000], 20_000, 10, 16, 20, 1_000, null, 1, 0, 10_000, 0, null);
        for (var i = 0; i + 1 < args.Length; i += 2)
        {
            var value = args[i + 1];
            options = args[i] switch
            {
                "--jobs" => options with { Jobs = [.. value.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)] },
                "--warm-up" => options with { WarmUp = int.Parse(value) },
                "--workers" => options with { Workers = int.Parse(value) },
                "--slots" => options with { Slots = int.Parse(value) },
                "--paced" => options with { PacedSeconds = int.Parse(value) },
                "--rate" => options with { PacedRate = int.Parse(value) },
                "--postgres" => options with { PostgreSql = value },
                "--coordinators" => options with { Coordinators = int.Parse(value) },
                "--recover" => options with { Recover = int.Parse(value) },
                "--cached" => options with { Cached = int.Parse(value) },
                "--single" => options with { Single = int.Parse(value) },
                "--dir" => options with { Directory = value },
                _ => throw new ArgumentException($"unknown option {args[i]}"),
            };
        }

        return options;
    }
}
