using System.Text.Json;
using EdgeFarm.ModelFormats.Conversion;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

/// <summary>Where the tests' files are: the sample checkpoint in the repository, its reference figures in the folder of test data.</summary>
internal static class TestData
{
    private static readonly Lazy<string> s_root = new(() =>
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "EdgeFarm.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("the tests do not run below the repository");
    });

    private static readonly Lazy<string> s_model = new(() =>
    {
        var path = Path.Combine(AppContext.BaseDirectory, "edgefarm-tiny-f16.gguf");
        var converted = CheckpointConverter.Convert(new ConversionRequest(Checkpoint, path, ConversionOutType.F16));
        return converted.IsOk ? path : throw new InvalidOperationException(converted.Failure!.Message);
    });

    /// <summary>The sample checkpoint's directory.</summary>
    public static string Checkpoint => Path.Combine(s_root.Value, "src", "EdgeFarm.Samples", "models", "edgefarm-tiny");

    /// <summary>The sample checkpoint as GGUF in F16, converted once.</summary>
    public static string Model => s_model.Value;

    public static string HeldOut => Path.Combine(s_root.Value, "src", "EdgeFarm.Samples", "data", "held-out.txt");

    public static string Calibration => Path.Combine(s_root.Value, "src", "EdgeFarm.Samples", "data", "calibration.txt");

    /// <summary>A file of the model's folder in the test data, or a skipped test.</summary>
    public static string Reference(string name)
    {
        var data = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(data is null, "EDGEFARM_TEST_DATA is not set");
        var path = Path.Combine(data!, "models", "edgefarm-tiny", name);
        Skip.IfNot(File.Exists(path), $"EDGEFARM_TEST_DATA has no models/edgefarm-tiny/{name}");
        return path;
    }

    /// <summary>The card's figures by form.</summary>
    public static JsonElement Card(string form)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Reference("reference.json")));
        return document.RootElement.GetProperty(form).Clone();
    }
}
