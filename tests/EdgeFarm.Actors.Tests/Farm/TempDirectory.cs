using EdgeFarm.Tests.Shared;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>A directory that is gone after the test.</summary>
internal sealed class TempDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("edgefarm-actors-").FullName;

    public void Dispose() => StoppedFarm.Delete(Path);
}
