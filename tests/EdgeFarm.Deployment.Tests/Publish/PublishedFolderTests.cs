using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using EdgeFarm.Deployment.Tests.Support;

namespace EdgeFarm.Deployment.Tests.Publish;

/// <summary>One copy of the sources for all classes that make release builds: a build after the first has little left to do.</summary>
[CollectionDefinition(Name)]
public sealed class ReleaseCollection : ICollectionFixture<SourceCopy>
{
    public const string Name = "release builds";
}

/// <summary>The folder that <c>dotnet publish -r RID --self-contained</c> makes: a worker where no SDK is.</summary>
[Collection(ReleaseCollection.Name)]
public sealed class PublishedFolderTests(SourceCopy source)
{
    [SkippableFact]
    public async Task A_folder_for_linux_x64_runs_a_sweep_without_an_SDK_as_another_user_who_cannot_write_to_it()
    {
        Skip.If(!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not Architecture.X64, "runs on linux-x64");
        var user = await ForeignUser.CreateAsync(source.Beside("home"), hasRuntime: false);
        var folder = await source.PublishAsync("linux-x64");
        AssertComplete(folder, Elf.X64);
        await user.RunSweepAsync(folder);
    }

    [SkippableFact]
    public async Task A_folder_for_linux_arm64_has_everything_for_that_machine_and_nothing_for_another()
    {
        Skip.If(!OperatingSystem.IsLinux(), "ELF files are Linux's");
        AssertComplete(await source.PublishAsync("linux-arm64"), Elf.Arm64);
    }

    private static void AssertComplete(string folder, Elf machine)
    {
        var rid = machine == Elf.X64 ? "linux-x64" : "linux-arm64";
        var jobHost = Path.Combine(folder, "jobhost");
        foreach (var needed in (string[])["edgefarm", "libcoreclr.so", "samples/index.json", "jobhost/EdgeFarm.JobHost", "jobhost/libcoreclr.so", "jobhost/libonnxruntime.so"])
        {
            Assert.True(File.Exists(Path.Combine(folder, needed)), $"{needed} is missing");
        }

        var options = JsonDocument.Parse(File.ReadAllText(Path.Combine(jobHost, "EdgeFarm.JobHost.runtimeconfig.json"))).RootElement.GetProperty("runtimeOptions");
        Assert.Equal("Microsoft.NETCore.App", Assert.Single(options.GetProperty("includedFrameworks").EnumerateArray()).GetProperty("name").GetString());
        Assert.Equal([rid], Directory.GetDirectories(Path.Combine(jobHost, "natives", "llama.cpp")).Select(d => Path.GetFileName(d)));
        var llama = Directory.GetFiles(Path.Combine(jobHost, "natives", "llama.cpp", rid)).Select(f => Path.GetFileName(f)).ToList();
        Assert.Contains(llama, f => f.StartsWith("libllama.", StringComparison.Ordinal));
        Assert.Contains(llama, f => f.StartsWith("libggml-cpu-", StringComparison.Ordinal));
        Assert.False(Directory.Exists(Path.Combine(folder, "natives")), "only the job host loads llama.cpp");

        var machines = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(f => (File: f, Machine: MachineOf(f))).Where(f => f.Machine is not null).ToList();
        Assert.NotEmpty(machines);
        Assert.All(machines, m => Assert.True(m.Machine == machine, $"{m.File} is for {m.Machine}"));
    }

    /// <summary>Machines as the header of an ELF file names them (e_machine).</summary>
    private enum Elf
    {
        X64 = 62,
        Arm64 = 183,
    }

    /// <summary>The machine that an ELF file is for; null for any other file.</summary>
    private static Elf? MachineOf(string path)
    {
        Span<byte> head = stackalloc byte[20];
        using var file = File.OpenRead(path);
        return file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) == head.Length && head is [0x7f, (byte)'E', (byte)'L', (byte)'F', ..]
            ? (Elf)BinaryPrimitives.ReadUInt16LittleEndian(head[18..])
            : null;
    }
}
