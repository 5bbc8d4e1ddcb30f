using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts;

/// <summary>How a worker starts a job host.</summary>
/// <param name="FileName">The executable.</param>
/// <param name="Arguments">Arguments before the job host's own.</param>
/// <param name="Environment">Variables added to the worker's own; a null value removes one.</param>
public sealed record JobHostCommand(string FileName, ImmutableArray<string> Arguments, ImmutableSortedDictionary<string, string?> Environment)
{
    /// <summary>Environment variable that names another job host: its assembly (.dll) or executable.</summary>
    public const string PathVariable = "EDGEFARM_JOBHOST";

    private const string Name = "EdgeFarm.JobHost";

    /// <summary>
    /// The job host of this installation: <c>EDGEFARM_JOBHOST</c>, else <c>EdgeFarm.JobHost</c> in the program's directory or in
    /// <c>jobhost</c> below it. Internal when there is none.
    /// </summary>
    public static Outcome<JobHostCommand> Locate()
    {
        if (System.Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 } given)
        {
            return File.Exists(given) ? Of(Path.GetFullPath(given)) : new Failure(FailureType.Internal, $"{PathVariable} names '{given}', which is not there");
        }

        string[] directories = [AppContext.BaseDirectory, Path.Combine(AppContext.BaseDirectory, "jobhost")];
        foreach (var directory in directories)
        {
            var assembly = Path.Combine(directory, Name + ".dll");
            if (File.Exists(assembly))
            {
                return Of(assembly);
            }
        }

        return new Failure(
            FailureType.Internal, $"there is no job host ({Name}.dll) in {string.Join(" or ", directories)}; build it (dotnet build src/{Name}) or name it in {PathVariable}");
    }

    /// <summary>A job host by its assembly, which is started by the executable beside it or by this runtime's <c>dotnet</c>, or by its executable.</summary>
    public static JobHostCommand Of(string path)
    {
        // <root>/shared/Microsoft.NETCore.App/<version>/: a child must run on the same runtime, wherever it is installed.
        var root = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));
        var environment = ImmutableSortedDictionary<string, string?>.Empty.WithComparers(StringComparer.Ordinal);
        if (Directory.Exists(Path.Combine(root, "shared")))
        {
            environment = environment.Add("DOTNET_ROOT", root);
        }

        if (!path.EndsWith(".dll", StringComparison.OrdinalIgnoreCase))
        {
            return new JobHostCommand(path, [], environment);
        }

        var executable = path[..^4] + (OperatingSystem.IsWindows() ? ".exe" : "");
        return File.Exists(executable)
            ? new JobHostCommand(executable, [], environment)
            : new JobHostCommand(Path.Combine(root, OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet"), [path], environment);
    }
}
