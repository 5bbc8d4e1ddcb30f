using System.Reflection;
using System.Text.RegularExpressions;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>Where things lie in this checkout.</summary>
internal static partial class Checkout
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    /// <summary>The command line as the build made it.</summary>
    public static string EdgeFarmDll { get; } = Path.Combine(Root, "src", "EdgeFarm.Cli", "bin", Metadata("Configuration"), "net10.0", "edgefarm.dll");

    /// <summary>The version that images carry.</summary>
    public static string Version { get; } = VersionPattern().Match(File.ReadAllText(Find("Directory.Build.props"))).Groups[1].Value;

    public static string Find(string path) => Path.Combine(Root, path);

    private static string Metadata(string key) =>
        Assembly.GetExecutingAssembly().GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;

    [GeneratedRegex("<Version>([^<]+)</Version>")]
    private static partial Regex VersionPattern();
}
