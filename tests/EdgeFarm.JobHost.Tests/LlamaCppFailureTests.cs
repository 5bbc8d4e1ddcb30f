using System.Diagnostics;
using System.Text.Json;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.JobHost.Tests;

/// <summary>Every kind of failure, produced by a real llama.cpp in a real job host.</summary>
public sealed class LlamaCppFailureTests : IDisposable
{
    private const string Engine = "llama.cpp";

    private readonly RealChild _child = new();

    public void Dispose() => _child.Dispose();

    private static (string, string)[] Short => [("prompt", "16"), ("generate", "4"), ("repetitions", "2"), ("warmup", "1")];

    // Long enough that only a kill ends it.
    private static (string, string)[] Endless => [("prompt", "512"), ("generate", "0"), ("repetitions", "10000"), ("warmup", "0")];

    [SkippableFact]
    public async Task The_sample_model_is_quantized_and_measured()
    {
        var model = RealChild.TinyModel;

        var pass = await _child.RunAsync(Engine, JobKind.Optimize, "GgufQuantization", [("model", model)], [("ftype", "Q4_K_M")]);
        Assert.Null(pass.Failure);
        var made = Path.Combine(_child.Output, Assert.Single(pass.Result!.Outputs).FileName);
        var benchmark = await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", made)], Short);

        Assert.Null(benchmark.Failure);
        Assert.Contains(benchmark.Result!.Result.Measurements, m => m is { Metric: "tg", Samples.Length: 2 });
        Assert.True(benchmark.PeakMemoryBytes > 4 << 20);
    }

    [SkippableFact]
    public async Task A_truncated_model_is_invalid_input_that_names_file_and_place()
    {
        var whole = await File.ReadAllBytesAsync(RealChild.TinyModel);
        var model = _child.Write("cut.gguf", whole.AsSpan(0, whole.Length / 2));

        foreach (var run in new[]
        {
            await _child.ImportAsync(model),
            await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", model)], Short),
        })
        {
            Assert.Equal(FailureType.InvalidInput, run.Failure!.Type);
            Assert.StartsWith("cut.gguf: ", run.Failure.Message);
            Assert.Contains("truncated", run.Failure.Message);
        }
    }

    [SkippableFact]
    public async Task A_block_count_that_makes_the_library_abort_is_found_before_it_does()
    {
        var model = _child.Write("deep.gguf", RealChild.WithMetadata(await File.ReadAllBytesAsync(RealChild.TinyModel), "llama.block_count", 100_000));

        var run = await _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", model)], Short);

        Assert.Equal(FailureType.InvalidInput, run.Failure!.Type);
        Assert.Contains("100000", run.Failure.Message);
    }

    [SkippableFact]
    public async Task A_model_that_is_truncated_while_it_is_measured_is_a_crash_by_its_signal()
    {
        var model = _child.Write("shrinking.gguf", await File.ReadAllBytesAsync(RealChild.TinyModel));
        var started = new WaitFor("pp");
        var running = _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", model)], Endless, progress: started);
        await started.SeenAsync(running);

        await using (var file = new FileStream(model, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(4096);
        }

        var run = await running;

        Assert.Equal((FailureType.Crashed, (int?)7), (run.Failure!.Type, run.Failure.Signal));
        Assert.Contains("SIGBUS", run.Failure.Message);
        Assert.NotEqual("", run.Failure.LogTail);
    }

    [SkippableFact]
    public async Task A_context_that_does_not_fit_is_out_of_memory()
    {
        (string, string)[] huge = [("prompt", "16"), ("generate", "4"), ("n_depth", "4000000"), ("repetitions", "1"), ("warmup", "0")];

        var run = await _child.RunAsync(
            Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], huge, _child.Limits with { MemoryLimitBytes = 256L << 20 });

        Assert.Equal(FailureType.OutOfMemory, run.Failure!.Type);
        Assert.True(run.PeakMemoryBytes < 1L << 30);
    }

    [SkippableFact]
    public async Task An_operation_that_there_is_not_is_unsupported()
    {
        var run = await _child.RunAsync(Engine, JobKind.Optimize, "NoSuchPass", [("model", RealChild.TinyModel)], []);

        Assert.Equal(FailureType.Unsupported, run.Failure!.Type);
    }

    [SkippableFact]
    public async Task A_benchmark_that_takes_too_long_is_timed_out()
    {
        var run = await _child.RunAsync(
            Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], Endless, _child.Limits with { Timeout = TimeSpan.FromSeconds(3) });

        Assert.Equal(FailureType.TimedOut, run.Failure!.Type);
    }

    [SkippableFact]
    public async Task A_benchmark_can_be_cancelled_while_native_code_computes()
    {
        using var cancel = new CancellationTokenSource();
        var started = new WaitFor("pp");
        var running = _child.RunAsync(Engine, JobKind.Benchmark, "Benchmark", [("model", RealChild.TinyModel)], Endless, null, started, cancel.Token);
        await started.SeenAsync(running);

        await cancel.CancelAsync();

        Assert.Equal(FailureType.Cancelled, (await running).Failure!.Type);
    }

    [SkippableFact]
    public async Task A_pass_onto_a_full_disk_is_an_internal_failure_and_leaves_no_output()
    {
        var model = RealChild.TinyModel;
        using var mount = Process.Start(new ProcessStartInfo("mount", ["-t", "tmpfs", "-o", "size=1m", "none", _child.Output]) { RedirectStandardError = true })!;
        await mount.WaitForExitAsync();
        Skip.If(mount.ExitCode != 0, "this user may not mount a file system");
        try
        {
            var run = await _child.RunAsync(Engine, JobKind.Optimize, "GgufQuantization", [("model", model)], [("ftype", "Q4_K_M")]);

            Assert.Equal(FailureType.Internal, run.Failure!.Type);
            Assert.Contains("disk", run.Failure.Message, StringComparison.OrdinalIgnoreCase);
            Assert.Empty(Directory.EnumerateFileSystemEntries(_child.Output));
        }
        finally
        {
            using var unmount = Process.Start("umount", [_child.Output])!;
            await unmount.WaitForExitAsync();
        }
    }

    [SkippableFact]
    public async Task An_import_names_the_format_and_counts_parameters()
    {
        var run = await _child.ImportAsync(RealChild.TinyModel);

        Assert.Null(run.Failure);
        var output = Assert.Single(run.Result!.Outputs);
        Assert.Equal(("model", "source", "gguf"), (output.Name, output.SameAsInput, output.Format));
        using var report = JsonDocument.Parse(run.Result.Result.Report);
        Assert.Equal("llama", report.RootElement.GetProperty("architecture").GetString());
        Assert.InRange(report.RootElement.GetProperty("parameters").GetInt64(), 5_000_000, 6_000_000);
    }

    [Theory]
    [InlineData("notes.gguf", FailureType.InvalidInput)]
    [InlineData("notes.onnx", FailureType.InvalidInput)]
    [InlineData("notes.txt", FailureType.Unsupported)]
    public async Task A_text_file_is_no_model_whatever_its_name(string name, FailureType type)
    {
        var run = await _child.ImportAsync(_child.Write(name, "These are my notes, written at length."u8));

        Assert.Equal(type, run.Failure!.Type);
        Assert.Contains(name, run.Failure.Message);
    }
}
