using System.Collections.Immutable;
using EdgeFarm.Core.Jobs;
using EdgeFarm.JobHost.TestHost;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;

// A job host with one engine that does to its process what native engines do when they go wrong. "worker DIRECTORY" makes it a worker
// that runs one job without end, so that a test can kill a worker.
if (args is ["worker", var directory])
{
    var command = JobHostCommand.Of(Path.Combine(AppContext.BaseDirectory, "EdgeFarm.JobHost.TestHost.dll"));
    var job = new JobHostJob
    {
        Kind = JobKind.Optimize,
        Operation = "Hang",
        Parameters = ImmutableSortedDictionary<string, string>.Empty,
        Inputs = ImmutableSortedDictionary<string, InputFile>.Empty,
        OutputDirectory = directory,
        DeviceId = "cpu",
        AutoThreads = 1,
    };
    var run = await new JobHostRunner(command, TimeProvider.System).RunAsync(
        HostileEngine.EngineId, job, new JobHostLimits(TimeSpan.FromMinutes(5), directory), null, CancellationToken.None);
    Console.Error.WriteLine(run.Failure);
    return 1;
}

return JobHostProgram.Run(args, new EngineRegistry((HostileEngine.EngineId, () => new HostileEngine())));
