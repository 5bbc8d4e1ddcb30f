using EdgeFarm.Actors.Tests.Projections;

namespace EdgeFarm.Actors.Tests;

/// <summary>Entry point for the child process of the crash test; the test runner does not use it.</summary>
internal static class Program
{
    public static Task<int> Main(string[] args) =>
        args is ["crash-projection", var directory] ? ProjectionCrash.RunAsync(directory) : Task.FromResult(2);
}
