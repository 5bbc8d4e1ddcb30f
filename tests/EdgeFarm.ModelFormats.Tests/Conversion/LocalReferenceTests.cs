namespace EdgeFarm.ModelFormats.Tests.Conversion;

/// <summary>Four of the reference's checkpoints that lie in the repository; see <see cref="ReferenceTests"/> for all.</summary>
public class LocalReferenceTests
{
    [Theory]
    [CombinatorialNames("llama-edge-f32", "llama3-tied-bf16-sharded", "phi3-longrope-f16", "gemma2-bf16")]
    public void Checkpoints_convert_as_the_reference_does(string name, string type) =>
        ReferenceTests.Check(TestData.Local($"checkpoints/{name}"), TestData.Local($"expected/{name}.json"), type);

    [AttributeUsage(AttributeTargets.Method)]
    private sealed class CombinatorialNamesAttribute(params string[] names) : Xunit.Sdk.DataAttribute
    {
        public override IEnumerable<object[]> GetData(System.Reflection.MethodInfo testMethod) =>
            names.SelectMany(_ => (string[])["f32", "f16", "bf16", "q8_0", "auto"], (name, type) => new object[] { name, type });
    }
}
