using System.CommandLine;
using EdgeFarm.Actors.Persistence;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.Hosting.Settings;

namespace EdgeFarm.Cli.Commands;

/// <summary>Where a farm keeps its database and artifacts, for verbs that work on them and not through a coordinator.</summary>
/// <param name="Database">Journal, rows, cache.</param>
/// <param name="Artifacts">Directory of the artifact store.</param>
/// <param name="Directory">The data directory of a farm of one process, which it holds while it runs; null for a cluster.</param>
internal sealed record FarmStorage(FarmDatabaseOptions Database, string Artifacts, string? Directory)
{
    private const string VariablePrefix = "EDGEFARM__";

    /// <summary>The option for a farm of one process.</summary>
    public static Option<string?> DataOption() => new("--data")
    {
        Description = "data directory of a farm of one process (default: .edgefarm)",
        HelpName = "DIR",
    };

    /// <summary>The option for a cluster.</summary>
    public static Option<string?> ConfigOption() => new("--config")
    {
        Description = $"settings file of a coordinator; {VariablePrefix} variables change it",
        HelpName = "FILE",
    };

    /// <summary>From the options; they exclude each other. InvalidInput tells what is missing.</summary>
    public static Outcome<FarmStorage> Find(string? data, string? config)
    {
        if (config is null)
        {
            return OfDirectory(Path.GetFullPath(data ?? ".edgefarm"));
        }

        if (data is not null)
        {
            return Failure.InvalidInput("--data and --config exclude each other");
        }

        var read = CoordinatorSettings.Read(config, Environment.GetEnvironmentVariables(), listen: null, http: null, data: null, insecure: false);
        if (!read.IsOk)
        {
            return read.Failure!;
        }

        var settings = read.Value;
        var artifacts = settings.Artifacts.Length > 0 ? settings.Artifacts : Path.Combine(settings.Data, "artifacts");
        if (settings.Database is { } database)
        {
            return new FarmStorage(database, artifacts, null);
        }

        var found = OfDirectory(settings.Data);
        return found.IsOk ? found.Value with { Artifacts = artifacts } : found;
    }

    private static Outcome<FarmStorage> OfDirectory(string directory)
    {
        var database = Path.Combine(directory, "farm.db");
        return File.Exists(database)
            ? new FarmStorage(FarmDatabaseOptions.SqliteFile(database), Path.Combine(directory, "artifacts"), directory)
            : Failure.InvalidInput($"there is no farm in '{directory}' (it has no farm.db); name its directory with --data, or a coordinator's settings with --config");
    }
}
