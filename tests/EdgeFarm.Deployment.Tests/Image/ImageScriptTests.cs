using System.Text.Json;
using EdgeFarm.Deployment.Tests.Support;

namespace EdgeFarm.Deployment.Tests.Image;

/// <summary>The image without a container engine: its build steps, and what they make, run as another user from a folder that is read-only.</summary>
public sealed class ImageScriptTests
{
    private const string OptIn = "EDGEFARM_IMAGE_TEST";
    private const int Nobody = 65534;

    [Fact]
    public async Task The_dockerfile_runs_the_script_for_each_target_and_ends_without_rights()
    {
        var lines = (await File.ReadAllTextAsync(Checkout.Find("Dockerfile"))).Split('\n');
        foreach (var target in (string[])["cpu", "vulkan", "cuda"])
        {
            Assert.Contains($"RUN build/image.sh /out {target}", lines);
            var stage = lines.SkipWhile(l => !l.EndsWith($" AS {target}", StringComparison.Ordinal)).Skip(1).TakeWhile(l => !l.StartsWith("FROM ", StringComparison.Ordinal)).ToList();
            Assert.Contains($"COPY --from=build-{target} /out /opt/edgefarm", stage);
            Assert.Contains("USER 10001:10001", stage);
            Assert.Contains("ENTRYPOINT [\"/opt/edgefarm/edgefarm\"]", stage);
        }
    }

    [Theory]
    [InlineData(new string[0], "usage: build/image.sh")]
    [InlineData(new[] { "/tmp/edgefarm-image-never", "tpu" }, "there is no variant 'tpu'")]
    public async Task Wrong_arguments_are_told(string[] arguments, string message)
    {
        var run = await Tool.RunAsync("bash", [Checkout.Find("build/image.sh"), .. arguments]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(message, run.Errors, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task What_the_script_makes_starts_as_another_user_from_a_read_only_folder()
    {
        Skip.If(
            Environment.GetEnvironmentVariable(OptIn) != "1",
            $"it publishes a release build, which takes minutes: {OptIn}=1 runs it");
        var setpriv = Tool.Find("setpriv");
        Skip.If(setpriv is null || Environment.UserName != "root", "only root can start a program as another user (with setpriv of util-linux)");
        var root = Directory.CreateTempSubdirectory("edgefarm-image-");
        try
        {
            // What a build of an image copies: the tracked files, without what a checkout has built.
            (await Tool.RunAsync("chmod", ["755", root.FullName])).Expect(0);
            var (source, image, home) = (Path.Combine(root.FullName, "source"), Path.Combine(root.FullName, "image"), Path.Combine(root.FullName, "home"));
            Directory.CreateDirectory(source);
            (await Tool.RunAsync("bash", ["-c", "git ls-files -z --cached --others --exclude-standard -- src build '*.props' '*.sln' global.json | tar --null -cf - -T - | tar -xf - -C \"$0\"", source])).Expect(0);
            (await Tool.RunAsync("bash", [Path.Combine(source, "build/image.sh"), image, "cpu"])).Expect(0);
            Directory.Delete(source, recursive: true);
            (await Tool.RunAsync("bash", ["-c", "mkdir -p \"$0\" && chown 65534:65534 \"$0\"", home])).Expect(0);

            Task<ToolRun> AsNobody(params string[] arguments) => Tool.RunAsync(
                setpriv,
                [$"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups", "--no-new-privs", "env", "-i", $"HOME={home}", "PATH=/usr/bin:/bin", $"TMPDIR={home}", $"EDGEFARM_MACHINE_LOCK={home}/machine", .. arguments]);
            Assert.NotEqual(0, (await AsNobody("touch", Path.Combine(image, "x"))).ExitCode);
            Assert.NotEqual(0, (await AsNobody("test", "-w", Path.Combine(image, "edgefarm.dll"))).ExitCode);
            var doctor = (await AsNobody(Path.Combine(image, "edgefarm"), "doctor", "--json")).Expect(0);
            Assert.Contains("llama.cpp", JsonDocument.Parse(doctor).RootElement.ToString(), StringComparison.Ordinal);

            // A whole farm: coordinator, workers, job hosts with every engine.
            var demo = (await AsNobody(Path.Combine(image, "edgefarm"), "demo", "--data", Path.Combine(home, "data"), "--json")).Expect(0);
            var entries = JsonDocument.Parse(demo).RootElement.GetProperty("leaderboard").GetProperty("entries").EnumerateArray().ToList();
            Assert.NotEmpty(entries);
            Assert.DoesNotContain(entries, e => e.TryGetProperty("failure", out var failure) && failure.ValueKind == JsonValueKind.Object);
        }
        finally
        {
            await Tool.RunAsync("bash", ["-c", "chmod -R u+w \"$0\" && rm -rf \"$0\"", root.FullName]);
        }
    }
}
