using System.Text.Json;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>A user without rights, with a home and nothing else: no SDK, no variables of this process.</summary>
internal sealed class ForeignUser
{
    private const string Nobody = "65534";

    private const string Sweep = """
        apiVersion: edgefarm/v1
        kind: Sweep
        metadata: {name: small}
        spec:
          models:
            - {id: edgefarm-tiny, source: bundled:edgefarm-tiny}
            - {id: digits, source: bundled:digits, dims: {image: [1, 1, 8, 8]}}
          recipes:
            - {toolchain: llama.cpp, types: [F16, Q4_K_M]}
            - {toolchain: onnxruntime, types: [fp32, dynamic-int8]}
          benchmark: {prompt: 16, generate: 4, repetitions: 2, threads: 1}
        """;

    private readonly string _setpriv;
    private readonly string _home;
    private readonly string? _runtime;

    private ForeignUser(string setpriv, string home, string? runtime) => (_setpriv, _home, _runtime) = (setpriv, home, runtime);

    /// <summary>Makes one; skips the test where that takes rights that it has not.</summary>
    /// <param name="home">Its home, which is made.</param>
    /// <param name="hasRuntime">Whether it finds this machine's .NET runtime.</param>
    public static async Task<ForeignUser> CreateAsync(string home, bool hasRuntime)
    {
        var setpriv = Tool.Find("setpriv");
        Skip.If(setpriv is null || Environment.UserName != "root", "only root can start a program as another user (with setpriv of util-linux)");
        (await Tool.RunAsync("bash", ["-c", $"mkdir -p \"$0\" && chown {Nobody}:{Nobody} \"$0\"", home])).Expect(0);
        var runtime = Path.GetFullPath(Path.Combine(System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));
        return new ForeignUser(setpriv, home, hasRuntime ? runtime : null);
    }

    /// <summary>Its search path has what a system has, but no program named dotnet.</summary>
    public Task<ToolRun> RunAsync(params string[] arguments) => Tool.RunAsync(
        _setpriv,
        [
            $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups", "--no-new-privs", "env", "-i", $"HOME={_home}", "PATH=/bin.none", $"TMPDIR={_home}",
            $"EDGEFARM_MACHINE_LOCK={_home}/machine", .. _runtime is null ? Array.Empty<string>() : [$"DOTNET_ROOT={_runtime}"], .. arguments,
        ]);

    /// <summary>A whole farm from a folder: coordinator, worker, job hosts with every engine, and a sweep that must succeed in all its forms.</summary>
    public async Task RunSweepAsync(string folder)
    {
        Assert.NotEqual(0, (await RunAsync("/usr/bin/touch", Path.Combine(folder, "x"))).ExitCode);
        Assert.NotEqual(0, (await RunAsync("/usr/bin/test", "-w", Path.Combine(folder, "edgefarm"))).ExitCode);
        var doctor = (await RunAsync(Path.Combine(folder, "edgefarm"), "doctor", "--json")).Expect(0);
        Assert.Contains("llama.cpp", doctor, StringComparison.Ordinal);

        var file = Path.Combine(_home, "small.yaml");
        await File.WriteAllTextAsync(file, Sweep);
        const string Script = """
            set -u
            "$0/edgefarm" up --data "$1/data" --workers 1 --listen "http://127.0.0.1:$3" --http "http://127.0.0.1:$4" >"$1/up.log" 2>&1 &
            up=$!
            until "$0/edgefarm" workers --farm "http://127.0.0.1:$3" >/dev/null 2>&1; do
              kill -0 $up 2>/dev/null || { echo "$(<"$1/up.log")" >&2; exit 9; }
            done
            "$0/edgefarm" submit "$2" --id small --wait --farm "http://127.0.0.1:$3" >&2 &&
              "$0/edgefarm" leaderboard --sweep small --json --farm "http://127.0.0.1:$3"
            ended=$?
            kill -TERM $up
            wait $up || exit 8
            exit $ended
            """;
        var run = (await RunAsync("/bin/bash", "-c", Script, folder, _home, file, $"{Ports.Free()}", $"{Ports.Free()}")).Expect(0);
        var entries = JsonDocument.Parse(run).RootElement.GetProperty("entries").EnumerateArray().ToList();
        Assert.Equal(4, entries.Count);
        Assert.All(entries, e => Assert.False(e.TryGetProperty("failure", out var failure) && failure.ValueKind == JsonValueKind.Object, e.ToString()));
    }
}
