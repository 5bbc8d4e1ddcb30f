using System.Diagnostics;
using EdgeFarm.Artifacts.Disk;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests.Disk;

/// <summary>A real full disk: a small tmpfs, which needs the right to mount.</summary>
public sealed class FullDiskTests
{
    [SkippableFact]
    public async Task A_full_disk_is_a_failure_that_says_so_and_frees_what_it_wrote()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs a tmpfs");
        using var folder = new TestFolder();
        Directory.CreateDirectory(folder["small"]);
        Skip.IfNot(await RunAsync("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder["small"]), "may not mount a tmpfs here");
        try
        {
            var store = DiskArtifactStore.Open(folder["small/store"], TimeProvider.System).Value;
            var bytes = TestFolder.Bytes(4 * 1024 * 1024);

            await using (var writer = (await store.BeginWriteAsync(Digest.Of(bytes), null, TestFolder.Token)).Value)
            {
                (await writer.WriteAsync(bytes, TestFolder.Token)).ShouldFail(FailureType.Internal, "the disk is full");
            }

            (await store.ImportAsync(folder.Write("big", bytes), ImportMode.Copy, TestFolder.Token)).ShouldFail(FailureType.Internal, "the disk is full", "4194304");
            Assert.True((await store.UsageAsync(TestFolder.Token)).Value.FreeBytes > 900_000);
            Assert.True((await store.ImportAsync(folder.Write("little", TestFolder.Bytes(1000)), ImportMode.Copy, TestFolder.Token)).IsOk);
        }
        finally
        {
            Assert.True(await RunAsync("umount", folder["small"]));
        }
    }

    private static async Task<bool> RunAsync(string tool, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(tool, arguments) { RedirectStandardError = true })!;
            await process.WaitForExitAsync();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
