using EdgeFarm.Deployment.Tests.Publish;
using EdgeFarm.Deployment.Tests.Support;

namespace EdgeFarm.Deployment.Tests.Image;

/// <summary>The image without a container engine: its build steps, and what they make, run as another user from a folder that is read-only.</summary>
[Collection(ReleaseCollection.Name)]
public sealed class ImageScriptTests(SourceCopy source)
{
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
    public async Task What_the_script_makes_runs_a_sweep_as_another_user_from_a_read_only_folder()
    {
        var user = await ForeignUser.CreateAsync(source.Beside("home-image"), hasRuntime: true);
        var image = await source.MakeImageAsync("cpu");
        Assert.False(File.Exists(Path.Combine(image, "jobhost", "libcoreclr.so")), "the runtime is the base image's");
        await user.RunSweepAsync(image);
    }
}
