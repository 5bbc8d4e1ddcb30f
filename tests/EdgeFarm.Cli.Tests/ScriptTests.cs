using System.Diagnostics;
using System.Reflection;

namespace EdgeFarm.Cli.Tests;

/// <summary>The script at the root of a checkout, in a checkout of nothing with a <c>dotnet</c> that writes down what it is asked.</summary>
public sealed class ScriptTests : IDisposable
{
    private static readonly string Root =
        typeof(ScriptTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-script-");

    public ScriptTests()
    {
        foreach (var file in new[] { "src/EdgeFarm.Cli/Program.cs", "build/x.targets", "build/npm/node_modules/y", "Directory.Build.props", "Directory.Packages.props", "global.json" })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(In(file))!);
            File.WriteAllText(In(file), "");
            File.SetLastWriteTimeUtc(In(file), DateTime.UtcNow.AddHours(-2));
        }

        File.Copy(Path.Combine(Root, "edgefarm"), In("edgefarm"));
        Directory.CreateDirectory(In("path"));
        File.WriteAllText(In("path/dotnet"), $"""
            #!/usr/bin/env bash
            if [ "$1" != build ]; then echo "ran ${"{"}@:2{"}"}"; exit; fi
            echo build >> '{In("log")}'
            if [ -e '{In("broken")}' ]; then exit 1; fi
            while [ -e '{In("hold")}' ]; do sleep 0.05; done
            mkdir -p '{In("src/EdgeFarm.Cli/bin/Debug/net10.0")}'
            : > '{Program}'
            """);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(In("path/dotnet"), UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }
    }

    private string Program => In("src/EdgeFarm.Cli/bin/Debug/net10.0/edgefarm.dll");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task It_builds_once_and_again_when_a_source_or_a_file_of_the_build_is_newer()
    {
        Assert.Equal("ran leaderboard --csv", await (await StartAsync("leaderboard", "--csv")).EndAsync());
        await (await StartAsync()).EndAsync();
        Assert.Equal(1, Builds);

        // What the build itself downloads is no source.
        File.SetLastWriteTimeUtc(In("build/npm/node_modules/y"), DateTime.UtcNow.AddHours(1));
        await (await StartAsync()).EndAsync();
        Assert.Equal(1, Builds);

        foreach (var file in new[] { "build/x.targets", "src/EdgeFarm.Cli/Program.cs", "global.json" })
        {
            var before = Builds;
            File.SetLastWriteTimeUtc(Program, DateTime.UtcNow.AddHours(-1));
            File.SetLastWriteTimeUtc(In(file), DateTime.UtcNow.AddMinutes(-30));
            await (await StartAsync()).EndAsync();
            Assert.Equal(before + 1, Builds);
        }
    }

    [Fact]
    public async Task Two_at_once_build_once()
    {
        File.WriteAllText(In("hold"), "");
        var first = await StartAsync("a");
        var bound = DateTime.UtcNow.AddMinutes(5);
        while (Builds == 0)
        {
            Assert.True(DateTime.UtcNow < bound, "no build began");
            await Task.Delay(20);
        }

        var second = await StartAsync("b");
        File.Delete(In("hold"));
        Assert.Equal(("ran a", "ran b"), (await first.EndAsync(), await second.EndAsync()));
        Assert.Equal(1, Builds);

        // A failed build is told, and holds up nobody after it.
        File.Delete(Program);
        File.WriteAllText(In("broken"), "");
        Assert.NotEqual(0, await (await StartAsync("c")).ExitCodeAsync());
        File.Delete(In("broken"));
        Assert.Equal("ran d", await (await StartAsync("d")).EndAsync());
    }

    private int Builds => File.Exists(In("log")) ? File.ReadAllLines(In("log")).Length : 0;

    private string In(string path) => Path.Combine(_folder.FullName, path);

    private Task<Script> StartAsync(params string[] arguments)
    {
        var info = new ProcessStartInfo("bash") { RedirectStandardOutput = true, RedirectStandardError = true };
        info.ArgumentList.Add(In("edgefarm"));
        foreach (var argument in arguments)
        {
            info.ArgumentList.Add(argument);
        }

        info.Environment["PATH"] = $"{In("path")}:{Environment.GetEnvironmentVariable("PATH")}";
        return Task.FromResult(new Script(Process.Start(info)!));
    }

    private sealed class Script(Process process)
    {
        private readonly Task<string> _output = process.StandardOutput.ReadToEndAsync(), _error = process.StandardError.ReadToEndAsync();

        public async Task<string> EndAsync()
        {
            Assert.True(await ExitCodeAsync() == 0, await _error);
            return (await _output).Trim();
        }

        public async Task<int> ExitCodeAsync()
        {
            using var bound = new CancellationTokenSource(TimeSpan.FromMinutes(5));
            await process.WaitForExitAsync(bound.Token);
            return process.ExitCode;
        }
    }
}
