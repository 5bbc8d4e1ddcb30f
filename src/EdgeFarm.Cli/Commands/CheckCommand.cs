using System.CommandLine;
using System.Data.Common;
using System.Diagnostics;
using System.Text.Json.Nodes;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Artifacts;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm check</c>: every artifact that a plan or a row names is in the store and hashes to its name.</summary>
internal static class CheckCommand
{
    private const int MostNames = 5;
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(5);

    private static readonly Option<string?> Data = FarmStorage.DataOption();
    private static readonly Option<string?> Config = FarmStorage.ConfigOption();
    private static readonly Option<bool> Json = CommandParts.JsonOption();

    public static Command Create(Terminal terminal)
    {
        var command = new Command("check", "verify that every artifact that a plan or a row names exists and hashes; the farm may run meanwhile") { Data, Config, Json };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var json = arguments.GetValue(Json);
        var storage = FarmStorage.Find(arguments.GetValue(Data), arguments.GetValue(Config));
        if (!storage.IsOk)
        {
            return Failures.Tell(terminal, json, storage.Failure!);
        }

        if (!Directory.Exists(storage.Value.Artifacts))
        {
            return Failures.Tell(
                terminal, json, Failure.InvalidInput($"there is no artifact store at '{storage.Value.Artifacts}'; mount it, or name it in Artifacts.Directory"));
        }

        var store = DiskArtifactStore.Open(storage.Value.Artifacts, TimeProvider.System);
        if (!store.IsOk)
        {
            return Failures.Tell(terminal, json, store.Failure!);
        }

        try
        {
            return await CheckAsync(terminal, json, storage.Value, store.Value, cancellation);
        }
        catch (DbException e)
        {
            return Failures.Tell(terminal, json, new Failure(FailureType.Internal, $"the database cannot be read: {e.Message}"));
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return Failures.Stopped(terminal, json);
        }
    }

    private static async Task<int> CheckAsync(Terminal terminal, bool json, FarmStorage storage, DiskArtifactStore store, CancellationToken cancellation)
    {

        terminal.Error.WriteLine("reading which artifacts the farm names...");
        var names = new Dictionary<(Digest Digest, ArtifactKind Kind), List<string>>();
        await foreach (var named in FarmMaintenance.NamedArtifactsAsync(storage.Database, cancellation))
        {
            if (!names.TryGetValue((named.Digest, named.Kind), out var by))
            {
                names.Add((named.Digest, named.Kind), by = []);
            }

            if (by.Count < MostNames)
            {
                by.Add(named.NamedBy);
            }
        }

        // A log is a file that some row may also name as one: then it is looked at once.
        foreach (var log in names.Keys.Where(k => k.Kind == ArtifactKind.Unspecified && names.Keys.Any(o => o.Digest == k.Digest && o.Kind != k.Kind)).ToList())
        {
            names.Remove(log);
        }

        var (done, unsound, clock) = (0, new List<AuditFinding>(), Stopwatch.StartNew());
        await foreach (var finding in ArtifactAudit.RunAsync(store, names.Keys, cancellation))
        {
            done++;
            if (!finding.IsSound)
            {
                unsound.Add(finding);
                terminal.Error.WriteLine($"{finding.Digest}: {Describe(finding)}; named by {string.Join("; ", NamesOf(finding.Digest))}");
            }

            if (clock.Elapsed > TellEvery)
            {
                clock.Restart();
                terminal.Error.WriteLine($"checked {done} of {names.Count} artifacts");
            }
        }

        if (json)
        {
            JsonDocuments.Write(terminal.Out, new JsonObject
            {
                ["checked"] = done,
                ["sound"] = done - unsound.Count,
                ["findings"] = new JsonArray([.. unsound.Select(f => new JsonObject
                {
                    ["digest"] = f.Digest.ToString(),
                    ["missing"] = new JsonArray([.. f.Missing.Select(d => JsonValue.Create(d.ToString()))]),
                    ["corrupt"] = new JsonArray([.. f.Corrupt.Select(d => JsonValue.Create(d.ToString()))]),
                    ["problem"] = f.Failure?.Message,
                    ["named_by"] = new JsonArray([.. NamesOf(f.Digest).Select(n => JsonValue.Create(n))]),
                })]),
            });
        }
        else
        {
            terminal.Out.WriteLine(unsound.Count == 0 ? $"{done} artifacts checked, all are there and hash" : $"{done} artifacts checked, {unsound.Count} are not sound");
        }

        return unsound.Count == 0 ? ExitCodes.Done : ExitCodes.Failed;

        IEnumerable<string> NamesOf(Digest digest) => names.Where(n => n.Key.Digest == digest).SelectMany(n => n.Value).Take(MostNames);
    }

    private static string Describe(AuditFinding finding) => (finding.Missing.Count, finding.Corrupt.Count) switch
    {
        (0, 0) => finding.Failure!.Message,
        (var missing, 0) => missing == 1 && finding.Missing[0] == finding.Digest ? "is missing" : $"lacks {missing} of its contents",
        (0, var corrupt) => corrupt == 1 && finding.Corrupt[0] == finding.Digest ? "did not hash to its name and is in quarantine now" : $"{corrupt} of its contents did not hash and are in quarantine now",
        var (missing, corrupt) => $"lacks {missing} of its contents, and {corrupt} did not hash and are in quarantine now",
    };
}
