namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>
/// What a checkout elsewhere would be: the tracked files, without what this one has built, in a folder that other users can read. Release
/// builds are made there, so that they disturb no build of this checkout; those of one class share their steps.
/// </summary>
public sealed class SourceCopy : IAsyncLifetime
{
    // No build server outlives the test: it would hold the folder.
    private static readonly (string, string?)[] BuildVariables =
        [("MSBUILDDISABLENODEREUSE", "1"), ("UseSharedCompilation", "false"), ("DOTNET_CLI_TELEMETRY_OPTOUT", "1"), ("DOTNET_NOLOGO", "1")];

    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("edgefarm-release-");

    public string Source => Path.Combine(_root.FullName, "source");

    /// <summary>A path beside the sources.</summary>
    public string Beside(string name) => Path.Combine(_root.FullName, name);

    public async Task InitializeAsync()
    {
        (await Tool.RunAsync("chmod", ["755", _root.FullName])).Expect(0);
        Directory.CreateDirectory(Source);

        // npm's packages are linked where they can be: they are the same, and many.
        (await Tool.RunAsync(
            "bash",
            [
                "-c",
                "git ls-files -z --cached --others --exclude-standard -- src build '*.props' '*.sln' global.json | tar --null -cf - -T - | tar -xf - -C \"$0\" " +
                "&& { cp -al build/npm/node_modules \"$0/build/npm/\" 2>/dev/null || cp -a build/npm/node_modules \"$0/build/npm/\"; }",
                Source,
            ])).Expect(0);
    }

    public Task DisposeAsync() => Tool.RunAsync("bash", ["-c", "chmod -R u+w \"$0\" && rm -rf \"$0\"", _root.FullName]);

    /// <summary>Runs build/image.sh for this machine; returns the folder.</summary>
    public async Task<string> MakeImageAsync(string variant)
    {
        var folder = Beside($"image-{variant}");
        (await Tool.RunAsync("bash", [Path.Combine(Source, "build/image.sh"), folder, variant], BuildVariables)).Expect(0);
        return folder;
    }

    /// <summary>What a user runs for a folder that needs no SDK, without the analyzers; returns the folder, which nobody may write to.</summary>
    public async Task<string> PublishAsync(string rid)
    {
        var folder = Beside(rid);
        (await Tool.RunAsync(
            "dotnet",
            [
                "publish", Path.Combine(Source, "src/EdgeFarm.Cli"), "-r", rid, "--self-contained", "-o", folder,
                "-p:RunAnalyzers=false", "-p:EnforceCodeStyleInBuild=false", "-p:GenerateDocumentationFile=false", "-nologo", "-clp:NoSummary", "-v", "quiet",
            ],
            BuildVariables)).Expect(0);
        (await Tool.RunAsync("chmod", ["-R", "a+rX,a-w", folder])).Expect(0);
        return folder;
    }
}
