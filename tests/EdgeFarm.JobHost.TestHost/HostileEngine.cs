using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Core.Measurements;
using EdgeFarm.Core.Planning;
using EdgeFarm.Toolchains;

namespace EdgeFarm.JobHost.TestHost;

/// <summary>Does real harm to the process that it runs in, by name of the operation.</summary>
internal sealed partial class HostileEngine : IToolchainEngine
{
    public const string EngineId = "hostile";

    private static readonly EngineIdentity Identity = new(EngineId, "1", "test");

    public string Id => EngineId;

    public Outcome<EngineProbe> Probe(CancellationToken cancellationToken) => new EngineProbe(
        new ToolchainInfo(Identity, ["Write"]),
        new RuntimeInfo(Identity, "", "", ["text"], ["cpu", "gpu:0", "gpu:1"]),
        [Gpu(0), Gpu(1)],
        ["nothing is missing"])
    {
        Unproven = [new UnprovenDevice("gpu:0", "Nothing to do."), new UnprovenDevice("gpu:1", "Update the driver.")],
    };

    private static Device Gpu(int index) =>
        new($"gpu:{index}", "gpu", ImmutableSortedDictionary<string, PropertyValue>.Empty.Add("gpu.vendor", PropertyValue.Of("test")), 1 << 30, "test gpu");

    public Outcome<EngineResult> Run(JobContext job, CancellationToken cancellationToken)
    {
        // Tests find the child by this file.
        File.WriteAllText(Path.Combine(job.OutputDirectory, "pid"), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        job.Log($"operation {job.Operation}");
        switch (job.Operation)
        {
            case "Write":
                return Write(job);
            case UnprovenDevice.Proof when job.DeviceId == "gpu:1":
                job.Log("driver error: the kernel was made by a newer toolchain");
                job.Log("the process ends");
                Abort();
                break;
            case UnprovenDevice.Proof:
                return new EngineResult { Result = new JobResult() };
            case "Refuse":
                return Failure.Unsupported("this engine refuses");
            case "Throw":
                throw new InvalidOperationException("thrown by an engine");
            case "ThrowOnThread":
                var thread = new Thread(() => throw new InvalidOperationException("thrown on a thread of the engine's"));
                thread.Start();
                thread.Join();
                break;
            case "NotANumber":
                return new EngineResult { Result = new JobResult { Measurements = [new Measurement("tg", [double.NaN], EngineId)] } };
            case "Abort":
                Abort();
                break;
            case "Raise":
                _ = Raise(int.Parse(job.Parameters["signal"], CultureInfo.InvariantCulture));
                break;
            case "Segfault":
                MemSet(16, 1, 4096);
                break;
            case "DivideByZero":
                _ = Div(1, int.Parse(job.Parameters["signal"], CultureInfo.InvariantCulture));
                break;
            case "TruncatedMap":
                ReadTruncatedMap(Path.Combine(job.OutputDirectory, "mapped"));
                break;
            case "StackOverflow":
                return Recurse(job, 1) > 0 ? Failure.Unsupported("") : Failure.Unsupported("never");
            case "Exit":
                LibcExit(int.Parse(job.Parameters["code"], CultureInfo.InvariantCulture));
                break;
            case "Hang":
                HangInNativeCode();
                break;
            case "Fork":
                Process.Start(new ProcessStartInfo("sleep", "1000"))!.Dispose();
                var second = Process.Start(new ProcessStartInfo("sh", ["-c", "sleep 1000 & echo $!; wait"]) { RedirectStandardOutput = true })!;
                File.WriteAllText(Path.Combine(job.OutputDirectory, "grandchild"), second.StandardOutput.ReadLine());
                if (job.Parameters.ContainsKey("return"))
                {
                    return new EngineResult { Result = new JobResult() };
                }

                HangInNativeCode();
                break;
            case "Spam":
                Spam(long.Parse(job.Parameters["bytes"], CultureInfo.InvariantCulture));
                return new EngineResult { Result = new JobResult() };
            case "Printf":
                _ = Puts("printed through C's buffer");
                return new EngineResult { Result = new JobResult() };
            case "EatManaged":
                var eaten = new List<byte[]>();
                while (true)
                {
                    eaten.Add(GC.AllocateUninitializedArray<byte>(16 << 20));
                    eaten[^1].AsSpan().Fill(1);
                }

            case "EatNative":
                while (Malloc(16 << 20) is var block && block != 0)
                {
                    MemSet(block, 1, 16 << 20);
                }

                return new Failure(FailureType.OutOfMemory, "malloc returned null");
            case "Heap":
                return FreshHeap();
            case "Environment":
                return new EngineResult { Result = new JobResult { Report = GetEnv("GGML_NO_BACKTRACE") ?? "absent", Settings = Descriptors() } };
        }

        return new Failure(FailureType.Internal, $"{job.Operation} did not end the process");
    }

    private static Outcome<EngineResult> Write(JobContext job)
    {
        for (var i = 0; i <= 10; i++)
        {
            job.Progress(i / 10.0, $"step {i}");
        }

        var name = job.Parameters.GetValueOrDefault("name", "out.txt");
        File.WriteAllText(Path.Combine(job.OutputDirectory, Path.GetFileName(name)), job.Parameters.GetValueOrDefault("text", "hello"));
        Console.WriteLine("on standard output");
        Console.Error.WriteLine("on standard error");
        return new EngineResult
        {
            Outputs = [new OutputFile("model", name, FormatNames.Text)],
            Result = new JobResult
            {
                Engine = Identity,
                Measurements = [new Measurement("tg", [1, 2.5, double.Epsilon, 1e300], EngineId, 0.25)],
                Settings = job.Parameters,
                Environment = ImmutableSortedDictionary<string, PropertyValue>.Empty
                    .Add("a", PropertyValue.Of("text")).Add("b", PropertyValue.Of(0.1)).Add("c", PropertyValue.Of(["y", "x"])),
                Flags = ["unsteady"],
                Warnings = ["careful"],
                Report = """{"a":1}""",
            },
        };
    }

    /// <summary>Pipes and sockets that are open beyond standard input, output and error.</summary>
    private static ImmutableSortedDictionary<string, string> Descriptors()
    {
        var all = new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos().ToDictionary(f => f.Name, f => f.LinkTarget ?? "");
        string[] standard = [all["0"], all["1"], all["2"]];
        return all.Where(f => (f.Value.StartsWith("pipe:", StringComparison.Ordinal) || f.Value.StartsWith("socket:", StringComparison.Ordinal)) && !standard.Contains(f.Value))
            .ToImmutableSortedDictionary(f => f.Key, f => f.Value, StringComparer.Ordinal);
    }

    /// <summary>Reports the bytes that new blocks of C's heap hold, as hexadecimal digits, small blocks and large ones.</summary>
    private static unsafe Outcome<EngineResult> FreshHeap()
    {
        var settings = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var size in (int[])[100, 5000, 300_000, 4 << 20])
        {
            settings[size.ToString(CultureInfo.InvariantCulture)] = Convert.ToHexStringLower(new ReadOnlySpan<byte>((byte*)Malloc(size) + 32, 32));
        }

        return new EngineResult { Result = new JobResult { Settings = settings.ToImmutable() } };
    }

    private static int Recurse(JobContext job, int depth) => depth == int.MaxValue ? 0 : Recurse(job, depth + 1) + job.Parameters.Count + 1;

    private static void ReadTruncatedMap(string path)
    {
        using var file = new FileStream(path, FileMode.Create, FileAccess.ReadWrite);
        file.SetLength(1 << 20);
        using var map = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        using var view = map.CreateViewAccessor();
        file.SetLength(0);
        MemSet(view.SafeMemoryMappedViewHandle.DangerousGetHandle(), 1, 1 << 20);
    }

    private static void HangInNativeCode()
    {
        while (true)
        {
            _ = Pause();
        }
    }

    private static void Spam(long bytes)
    {
        var line = new string('x', 1022) + "\n";
        for (long written = 0; written < bytes; written += line.Length + 1)
        {
            _ = Puts(line);
        }
    }

    [LibraryImport("libc", EntryPoint = "abort")]
    private static partial void Abort();

    [LibraryImport("libc", EntryPoint = "raise")]
    private static partial int Raise(int signal);

    [LibraryImport("libc", EntryPoint = "div")]
    private static partial long Div(int numerator, int denominator);

    [LibraryImport("libc", EntryPoint = "memset")]
    private static partial nint MemSet(nint at, int value, nint count);

    [LibraryImport("libc", EntryPoint = "malloc")]
    private static partial nint Malloc(nint count);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void LibcExit(int code);

    [LibraryImport("libc", EntryPoint = "pause")]
    private static partial int Pause();

    [LibraryImport("libc", EntryPoint = "puts", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Puts(string text);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetEnvPointer(string name);

    private static string? GetEnv(string name) => Marshal.PtrToStringUTF8(GetEnvPointer(name));
}
