namespace EdgeFarm.Toolchains.LlamaCpp.Tests;

/// <summary>A folder of its own for one test, deleted afterwards.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-llama-");

    public string this[string name] => Path.Combine(_folder.FullName, name);

    public IReadOnlyList<string> Files => [.. _folder.EnumerateFiles().Select(file => file.Name).Order(StringComparer.Ordinal)];

    public void Dispose() => _folder.Delete(recursive: true);
}
