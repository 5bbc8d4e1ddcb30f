using System.Text.Json;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

/// <summary>Where the tests' files are: the sample model in the repository, its reference figures in the folder of test data.</summary>
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

    public static string Model => Path.Combine(s_root.Value, "src", "EdgeFarm.Samples", "models", "edgefarm-tiny", "edgefarm-tiny-f16.gguf");

    public static string HeldOut => Path.Combine(s_root.Value, "src", "EdgeFarm.Samples", "data", "held-out.txt");

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
