using System.Text.Json;
using EdgeFarm.Toolchains.JobHosts.Child;
using EdgeFarm.Toolchains.JobHosts.Wire;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>
/// The whole of a job host but for its engines: an executable hands in its arguments and the engines that it brings. One process
/// does one job; nothing that an engine breaks in it outlives it.
/// </summary>
public static class JobHostProgram
{
    private const string Usage =
        """
        usage: jobhost --channel NAME      one job for the worker that listens on the channel
               jobhost probe ENGINE        what ENGINE is and can do on this machine, as JSON
        """;

    /// <summary>Runs the program. Returns its exit code: 0 done (also when the job failed as expected), 1 the probe failed, 2 bad usage.</summary>
    /// <param name="args">Arguments of the command line.</param>
    /// <param name="registry">Engines of this executable.</param>
    public static int Run(string[] args, EngineRegistry registry)
    {
        switch (args)
        {
            case ["--channel", var channel]:
                return ChildSession.Run(channel, registry);
            case ["probe", var engine]:
                return Probe(engine, registry);
            default:
                Console.Error.WriteLine(Usage);
                Console.Error.WriteLine($"engines: {string.Join(", ", registry.Ids)}");
                return 2;
        }
    }

    private static int Probe(string engine, EngineRegistry registry)
    {
        var completed = JobExecutor.Probe(engine, registry);
        if (completed.Failure is { } failure)
        {
            Console.Error.WriteLine(failure);
            return 1;
        }

        Console.Out.WriteLine(JsonSerializer.Serialize(completed, JobHostJson.Default.Completed));
        return 0;
    }
}
