using System.Reflection;
using System.Xml.Linq;

namespace EdgeFarm.Core.Tests.Architecture;

/// <summary>The projects reference one way; docs/architecture.md draws the same graph.</summary>
public sealed class ReferenceGraphTests
{
    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        ["EdgeFarm.Core"] = [],
        ["EdgeFarm.ModelFormats"] = ["EdgeFarm.Core"],
        ["EdgeFarm.Toolchains"] = ["EdgeFarm.Core", "EdgeFarm.ModelFormats"],
        ["EdgeFarm.Toolchains.LlamaCpp"] = ["EdgeFarm.Toolchains"],
        ["EdgeFarm.Toolchains.OnnxRuntime"] = ["EdgeFarm.Toolchains"],
        ["EdgeFarm.JobHost"] = ["EdgeFarm.Toolchains", "EdgeFarm.Toolchains.LlamaCpp", "EdgeFarm.Toolchains.OnnxRuntime"],
        ["EdgeFarm.Contracts"] = [],
        ["EdgeFarm.Artifacts"] = ["EdgeFarm.Core"],
        ["EdgeFarm.Actors"] = ["EdgeFarm.Artifacts", "EdgeFarm.Contracts", "EdgeFarm.Core"],
        ["EdgeFarm.Server"] = ["EdgeFarm.Actors", "EdgeFarm.Toolchains", "EdgeFarm.Toolchains.LlamaCpp", "EdgeFarm.Toolchains.OnnxRuntime"],
        ["EdgeFarm.Samples"] = [],
        ["EdgeFarm.Cli"] = ["EdgeFarm.Contracts", "EdgeFarm.JobHost (no assembly)", "EdgeFarm.Samples", "EdgeFarm.Server"],
    };

    private static readonly string[] PackagesOutOfCore = ["Akka", "Grpc", "Google", "Microsoft.ML", "Microsoft.Data", "Npgsql", "linq2db", "YamlDotNet"];

    private static string Root => Assembly.GetExecutingAssembly().GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(a => a.Key == "RepositoryRoot").Value!;

    public static TheoryData<string> Projects()
    {
        var data = new TheoryData<string>();
        foreach (var directory in Directory.GetDirectories(Path.Combine(Root, "src")))
        {
            data.Add(Path.GetFileName(directory));
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_references_only_what_the_design_allows(string project)
    {
        var document = XDocument.Load(Path.Combine(Root, "src", project, project + ".csproj"));
        var references = document.Descendants("ProjectReference")
            .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value.Replace('\\', '/'))
                + (IsWithoutAssembly(r) ? " (no assembly)" : ""));

        Assert.True(Allowed.ContainsKey(project), $"{project} is not in the design's graph: add it there, here and in docs/architecture.md");
        Assert.Empty(references.Except(Allowed[project]));
    }

    [Fact]
    public void Core_uses_the_base_class_library_alone()
    {
        var referenced = typeof(EdgeFarm.Core.Jobs.JobSpec).Assembly.GetReferencedAssemblies().Select(a => a.Name!);
        Assert.DoesNotContain(referenced, name => PackagesOutOfCore.Any(p => name.StartsWith(p, StringComparison.Ordinal)));
        Assert.Empty(XDocument.Load(Path.Combine(Root, "src/EdgeFarm.Core/EdgeFarm.Core.csproj")).Descendants("PackageReference"));
    }

    [Theory]
    [InlineData("EdgeFarm.Server")]
    [InlineData("EdgeFarm.Actors")]
    [InlineData("EdgeFarm.Cli")]
    public void No_coordinator_or_worker_loads_an_engine(string project)
    {
        // Engines touch native code; only the job host may. The descriptors beside them are data.
        var engines = Directory.GetFiles(Path.Combine(Root, "src", project), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal))
            .Where(f => File.ReadAllText(f).Contains("IToolchainEngine", StringComparison.Ordinal));
        Assert.Empty(engines);
    }

    private static bool IsWithoutAssembly(XElement reference) =>
        (string?)reference.Attribute("ReferenceOutputAssembly") == "false" || (string?)reference.Element("ReferenceOutputAssembly") == "false";
}
