using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Core.Artifacts;
using ArtifactKind = EdgeFarm.Core.Artifacts.ArtifactKind;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm pull</c>.</summary>
internal static class PullCommand
{
    private static readonly Argument<string> What = new("entry|digest")
    {
        Description = "id of a leaderboard row (a unique prefix will do), or digest of an artifact",
    };
    private static readonly Option<string> Output = new("--output", "-o")
    {
        Description = "where to write it; a directory takes it under its own name",
        HelpName = "PATH",
        Required = true,
    };

    public static Command Create(Terminal terminal) =>
        ClientCommand.Create(terminal, "pull", "fetch an artifact of the farm: a file or a directory", [What, Output], RunAsync);

    private static async Task<int> RunAsync(ClientContext context)
    {
        var artifact = await FindAsync(context, context.Arguments.GetValue(What)!);
        var path = Path.GetFullPath(context.Arguments.GetValue(Output)!);
        if (Directory.Exists(path))
        {
            path = Path.Combine(path, artifact.FileName);
        }

        if (Path.Exists(path))
        {
            throw new BadInputException($"'{path}' exists already; remove it or choose another path with -o");
        }

        var parent = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(parent))
        {
            throw new BadInputException($"there is no directory '{parent}'");
        }

        // Beside the target, so that the last step stays on one disk; kept after an interruption, so that the next pull goes on.
        await FarmFiles.FetchAsync(context.Farm, artifact, path, $"{path}.partial", context.Cancellation);
        if (context.Json)
        {
            context.WriteDocument(new JsonObject
            {
                ["artifact"] = artifact.Digest.ToString(),
                ["kind"] = artifact.Kind.ToString().ToLowerInvariant(),
                ["size"] = artifact.Size,
                ["path"] = path,
            });
        }
        else
        {
            context.Terminal.Out.WriteLine($"{path}: {Figures.Bytes(artifact.Size)}, {artifact.Digest}");
        }

        return ExitCodes.Done;
    }

    private static async Task<ArtifactRef> FindAsync(ClientContext context, string what)
    {
        if (Digest.TryParse(what, out var digest))
        {
            return await FarmFiles.StatAsync(context.Farm, digest, context.Cancellation);
        }

        var entry = await context.Farm.AwaitAsync(
            context.Farm.Leaderboard.GetEntryAsync(new GetEntryRequest { Id = what }, cancellationToken: context.Cancellation));
        return entry.ArtifactInfo is { } made && Digest.TryParse(made.Digest, out var name)
            ? new ArtifactRef(name, (ArtifactKind)made.Kind, made.Size, made.Format, made.FileName)
            : throw new BadInputException($"{entry.Form} of {entry.Model} has no artifact: {entry.Failure?.Message ?? "it is not made yet"}");
    }
}
