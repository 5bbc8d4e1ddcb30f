namespace EdgeFarm.ModelFormats.Tests;

/// <summary>Finds data: small files beside the tests, large ones through EDGEFARM_TEST_DATA.</summary>
internal static class TestData
{
    /// <summary>A path below EDGEFARM_TEST_DATA; skips the test with the reason where it is absent.</summary>
    public static string Shared(string relative)
    {
        var root = Environment.GetEnvironmentVariable("EDGEFARM_TEST_DATA");
        Skip.If(string.IsNullOrEmpty(root), "EDGEFARM_TEST_DATA is not set");
        var path = Path.Combine(root!, relative);
        Skip.IfNot(Path.Exists(path), $"{relative} is not below EDGEFARM_TEST_DATA");
        return path;
    }

    /// <summary>A path below the test project's Data folder.</summary>
    public static string Local(string relative) => Path.Combine(AppContext.BaseDirectory, "Data", relative);
}

/// <summary>A directory that is deleted when the test ends.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("edgefarm-test-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
