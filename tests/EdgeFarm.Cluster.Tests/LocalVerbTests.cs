using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.Cluster.Tests.Harness;

namespace EdgeFarm.Cluster.Tests;

/// <summary>One pass on this machine, without a farm: the same bytes as a sweep's, and nothing half done.</summary>
public sealed class LocalVerbTests : IDisposable
{
    private static readonly string Checkpoint = Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/models/edgefarm-tiny");
    private static readonly string Digits = Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/models/digits/digits.onnx");

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-verbs-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task A_checkpoint_becomes_the_files_of_its_card()
    {
        var converted = (await RunAsync("convert", Checkpoint, "-o", "f16.gguf", "--outtype", "f16", "--json")).Expect(0);
        Assert.Equal(Card("F16"), Hash("f16.gguf"));
        var document = converted.Json();
        Assert.Equal(("GgufConversion", "gguf", $"sha256:{Card("F16")}"), (document.GetProperty("form").GetString(), document.GetProperty("format").GetString(), document.GetProperty("artifact").GetString()));
        Assert.Contains("100 %", converted.Errors, StringComparison.Ordinal);

        var quantized = (await RunAsync("quantize", "f16.gguf", "Q4_K_M", "-o", "from-file.gguf")).Expect(0);
        Assert.Equal(Card("Q4_K_M"), Hash("from-file.gguf"));
        Assert.Contains("from-file.gguf: Q4_K_M, 3.61 MiB, 5.25 bits per weight", quantized.Output, StringComparison.Ordinal);

        // The name of the checkpoint's directory is in the file, so it must be the same one.
        (await RunAsync("quantize", Checkpoint, "Q4_K_M", "-o", "from-checkpoint.gguf")).Expect(0);
        Assert.Equal(Card("Q4_K_M"), Hash("from-checkpoint.gguf"));

        // A form that the source is already: the same bytes under another name.
        (await RunAsync("quantize", "f16.gguf", "F16", "-o", "same.gguf")).Expect(0);
        Assert.Equal(Card("F16"), Hash("same.gguf"));

        var told = (await RunAsync("inspect", "from-file.gguf", "--json")).Expect(0).Json();
        Assert.Equal(("llama", 5_770_496), (told.GetProperty("architecture").GetString(), told.GetProperty("parameters").GetInt64()));
        Assert.Equal(["f16.gguf", "from-checkpoint.gguf", "from-file.gguf", "same.gguf"], Names());
    }

    [Fact]
    public async Task An_onnx_model_takes_forms_passes_and_parameters()
    {
        var dynamic = (await RunAsync("quantize", Digits, "dynamic-int8", "-o", "int8.onnx", "--json")).Expect(0).Json();
        Assert.Equal("OnnxDynamicQuantization", dynamic.GetProperty("recipe").EnumerateArray().Last().GetProperty("type").GetString());
        var bits = (await RunAsync("quantize", Digits, "OnnxMatMulNBits", "--set", "bits=4", "--set", "block_size=32", "-o", "int4.onnx", "--json")).Expect(0).Json();
        Assert.Equal(("4", "32"), (Parameter(bits, "bits"), Parameter(bits, "block_size")));
        Assert.True(new FileInfo(In("int8.onnx")).Length < new FileInfo(Digits).Length);
        Assert.Equal("onnx", (await RunAsync("inspect", "int4.onnx", "--json")).Expect(0).Json().GetProperty("format").GetString());
        Assert.Equal(["int4.onnx", "int8.onnx"], Names());
    }

    [Fact]
    public async Task The_form_is_chosen_and_the_choice_explained()
    {
        string[] chosen = ["quantize", Digits, "auto", "--calibration", Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/data/digits/calibration.npz"), "--set", "max_forms=2", "--set", "judged_samples=8"];
        var text = (await RunAsync([.. chosen, "-o", "auto.onnx"])).Expect(0);
        Assert.Contains("wanted: the least latency with at most 0.02 of cosine lost on 8 samples", text.Output, StringComparison.Ordinal);
        Assert.Contains("\nchosen: ", text.Output, StringComparison.Ordinal);
        Assert.Contains("tried static-int8: ", text.Output, StringComparison.Ordinal);
        Assert.Contains("not tried smooth-int8: ", text.Output, StringComparison.Ordinal);

        var report = (await RunAsync([.. chosen, "--set", "objective=size", "-o", "small.onnx", "--json"])).Expect(0).Json().GetProperty("reports").EnumerateArray().Last().GetProperty("report");
        Assert.Equal("static-int8", report.GetProperty("choice").GetProperty("form").GetString());
        Assert.Equal("5-8", report.GetProperty("precision_class").GetString());
        Assert.Contains("no parameter 'beauty'", (await RunAsync("quantize", Digits, "auto", "--set", "beauty=1", "-o", "out.onnx")).Expect(2).Errors, StringComparison.Ordinal);
        Assert.Equal(["auto.onnx", "small.onnx"], Names());
    }

    [Fact]
    public async Task What_fails_leaves_nothing_behind()
    {
        await File.WriteAllBytesAsync(In("cut.gguf"), [.. "GGUF"u8, 3, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]);
        var broken = (await RunAsync("quantize", "cut.gguf", "Q8_0", "-o", "out.gguf", "--json")).Expect(2);
        Assert.Equal("InvalidInput", broken.Json().GetProperty("error").GetProperty("type").GetString());
        Assert.Contains("cut.gguf", broken.Errors, StringComparison.Ordinal);

        Assert.Contains("is the input itself", (await RunAsync("quantize", Digits, "dynamic-int8", "-o", Digits)).Expect(2).Errors, StringComparison.Ordinal);
        Assert.Contains("there is no directory", (await RunAsync("quantize", Digits, "dynamic-int8", "-o", "none/out.onnx")).Expect(2).Errors, StringComparison.Ordinal);
        Assert.Contains("did you mean dynamic-int8?", (await RunAsync("quantize", Digits, "dynamic-int9", "-o", "out.onnx")).Expect(2).Errors, StringComparison.Ordinal);
        Assert.Equal(["cut.gguf"], Names());
    }

    [Theory]
    [InlineData(Signals.Interrupt)]
    [InlineData(Signals.Terminate)]
    public async Task A_signal_ends_it_and_leaves_nothing_behind(int signal)
    {
        await using var process = CliProcess.Start(
            _folder.FullName, "quantize", Checkpoint, "Q4_K_M", "--calibration", Path.Combine(Checkout.Root, "src/EdgeFarm.Samples/data/calibration.txt"), "-o", "out.gguf");
        await Wait.UntilAsync(() => process.Log.Contains("GgufImportanceMatrix", StringComparison.Ordinal) || process.HasExited, "the matrix is being computed");
        Signals.Send(process.Id, signal);
        await Wait.UntilAsync(() => process.HasExited, "the command ends");

        Assert.Equal(1, process.ExitCode);
        Assert.Contains("stopped", process.Log, StringComparison.Ordinal);
        Assert.Empty(Names());
    }

    [Fact]
    public async Task A_signal_ends_a_search_for_the_best_form_too()
    {
        await using var process = CliProcess.Start(_folder.FullName, "quantize", Digits, "auto", "-o", "out.onnx");
        await Wait.UntilAsync(() => process.Log.Contains("OnnxAutoOpt", StringComparison.Ordinal) || process.HasExited, "the search runs");
        Signals.Send(process.Id, Signals.Interrupt);
        await Wait.UntilAsync(() => process.HasExited, "the command ends");

        Assert.Equal(1, process.ExitCode);
        Assert.Empty(Names());
    }

    private Task<CliRun> RunAsync(params string[] arguments) => Cli.RunAsync(_folder.FullName, arguments);

    private string In(string name) => Path.Combine(_folder.FullName, name);

    private string[] Names() => [.. _folder.GetFileSystemInfos().Select(f => f.Name).Order(StringComparer.Ordinal)];

    private string Hash(string name) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(In(name))));

    private static string? Parameter(JsonElement document, string name) => document.GetProperty("recipe").EnumerateArray().Last().GetProperty("parameters").GetProperty(name).GetString();

    private static string Card(string form)
    {
        using var reference = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Checkout.Root, "tests/EdgeFarm.Toolchains.LlamaCpp.Tests/Reference/edgefarm-tiny.json")));
        return reference.RootElement.GetProperty(form).GetProperty("sha256").GetString()!;
    }

    /// <summary>Waiting with a bound against hanging, far above what a loaded machine takes.</summary>
    private static class Wait
    {
        public static async Task UntilAsync(Func<bool> condition, string what)
        {
            using var bound = new CancellationTokenSource(Cli.Patience);
            while (!condition())
            {
                Assert.False(bound.IsCancellationRequested, $"waited in vain until {what}");
                await Task.Delay(TimeSpan.FromMilliseconds(50));
            }
        }
    }
}
