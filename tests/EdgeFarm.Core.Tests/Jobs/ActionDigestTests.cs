using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using static EdgeFarm.Core.Tests.TestCatalog;

namespace EdgeFarm.Core.Tests.Jobs;

public sealed class ActionDigestTests
{
    private static readonly System.Collections.Immutable.ImmutableSortedDictionary<string, ArtifactRef> Inputs =
        System.Collections.Immutable.ImmutableSortedDictionary.Create<string, ArtifactRef>(StringComparer.Ordinal).Add("model", Artifact("tiny", "gguf"));

    [Fact]
    public void The_digest_is_stable()
    {
        // A golden value: if it changes, every cached result is lost, and SchemaVersion must be raised on purpose.
        var digest = ActionDigest.Of(JobKind.Optimize, "GgufQuantize", Llama, Parameters(("type", "Q4_K_M")), Inputs);
        Assert.Equal("98465167641d296287735de3ea50c531e95152f124b56b8cc277bdb03bfb4596", digest.Hex);
    }

    [Fact]
    public void Every_component_counts()
    {
        Digest[] digests =
        [
            ActionDigest.Of(JobKind.Optimize, "A", Llama, Parameters(("type", "Q4_K_M")), Inputs),
            ActionDigest.Of(JobKind.Evaluate, "A", Llama, Parameters(("type", "Q4_K_M")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "B", Llama, Parameters(("type", "Q4_K_M")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "A", Llama with { Release = "b6001" }, Parameters(("type", "Q4_K_M")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "A", Llama with { SourceCommit = "library:1" }, Parameters(("type", "Q4_K_M")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "A", Llama, Parameters(("type", "Q4_K_S")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "A", Llama, Parameters(("type", "Q4_K_M"), ("x", "")), Inputs),
            ActionDigest.Of(JobKind.Optimize, "A", Llama, Parameters(("type", "Q4_K_M")), Inputs.SetItem("model", Artifact("other", "gguf"))),
            ActionDigest.Of(JobKind.Optimize, "A", Llama, Parameters(("type", "Q4_K_M")), Inputs.Add("data", Artifact("tiny", "gguf"))),
        ];
        Assert.Equal(digests.Length, digests.Distinct().Count());
    }

    [Fact]
    public void The_name_of_a_file_does_not_count() => Assert.Equal(
        ActionDigest.Of(JobKind.Import, "Import", Llama, Parameters(), Inputs),
        ActionDigest.Of(JobKind.Import, "Import", Llama, Parameters(), Inputs.SetItem("model", Inputs["model"] with { FileName = "else" })));
}
