using System.Reflection;

namespace EdgeFarm.Cluster.Tests.Harness;

/// <summary>Where things lie in this checkout.</summary>
internal static class Checkout
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    /// <summary>The command line as the build made it, with natives and job host.</summary>
    public static string EdgeFarmDll { get; } = Path.Combine(Root, "src", "EdgeFarm.Cli", "bin", Metadata("Configuration"), "net10.0", "edgefarm.dll");

    /// <summary>The job host whose passes wait at a gate.</summary>
    public static string GateHostDll { get; } = Path.Combine(Root, "tests", "EdgeFarm.JobHost.GateHost", "bin", Metadata("Configuration"), "net10.0", "EdgeFarm.JobHost.GateHost.dll");

    private static string Metadata(string key) =>
        Assembly.GetExecutingAssembly().GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
