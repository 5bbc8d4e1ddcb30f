using System.Text.Json;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Actors.Serialization.Wire;
using EdgeFarm.Actors.Tests.Farm;
using EdgeFarm.Core.Jobs;
using Google.Protobuf;

namespace EdgeFarm.Actors.Tests.Serialization;

public sealed class PlanMappingTests
{
    [Fact]
    public void Jobs_that_share_some_parts_are_read_back_as_they_were()
    {
        var seeds = TestPlans.Submission("s-1").Plan.Jobs;
        var rng = new Random(5);
        for (var round = 0; round < 50; round++)
        {
            JobSpec[] jobs = [.. Enumerable.Range(0, rng.Next(1, 60)).Select(i => Vary(seeds[rng.Next(seeds.Length)], i, rng))];
            var bytes = PlanMapping.Part([.. jobs], []).ToByteArray();
            var read = PlanMapping.Jobs(PlanPart.Parser.ParseFrom(bytes), "s-1");
            Assert.Equal(jobs.Select(Text), read.Select(Text));
        }
    }

    [Fact]
    public void What_jobs_have_in_common_is_written_once()
    {
        var job = TestPlans.Submission("s-1").Plan.Jobs[0];
        var one = PlanMapping.Part([job], []).CalculateSize();
        var thousand = PlanMapping.Part([.. Enumerable.Range(0, 1000).Select(i => job with { Id = $"s-1/{i}" })], []).CalculateSize();
        Assert.True(thousand < one + (1000 * 24), $"{one} bytes for one, {thousand} for a thousand");
    }

    [Fact]
    public void A_large_plan_goes_between_coordinators_in_parts()
    {
        var small = TestPlans.Submission("s-1");
        JobSpec[] jobs = [.. Enumerable.Range(0, PlanMapping.LargePlan + 1).Select(i => small.Plan.Jobs[0] with { Id = JobSpec.MakeId("s-1", i) })];
        var wire = (small with { Plan = small.Plan with { Jobs = [.. jobs] } }).Wire();
        Assert.Empty(wire.Plan.Jobs);
        var read = wire.ToCore().Plan;
        Assert.Equal(jobs.Select(Text), read.Jobs.Select(Text));
        Assert.Equal(JsonSerializer.Serialize(small.Plan.Entries), JsonSerializer.Serialize(read.Entries));
        Assert.NotEmpty(read.Entries);
    }

    [Theory]
    [InlineData("shape")]
    [InlineData("text")]
    [InlineData("parameters")]
    [InlineData("inputs")]
    public void A_part_that_names_what_it_does_not_hold_is_refused(string what)
    {
        var part = PlanMapping.Part([TestPlans.Submission("s-1").Plan.Jobs[0]], []);
        var job = part.Jobs[0];
        (job.Shape, job.Model, job.Parameters, job.Inputs) = what switch
        {
            "shape" => (99, job.Model, job.Parameters, job.Inputs),
            "text" => (job.Shape, -1, job.Parameters, job.Inputs),
            "parameters" => (job.Shape, job.Model, 99, job.Inputs),
            _ => (job.Shape, job.Model, job.Parameters, 99),
        };
        var refused = Assert.Throws<InvalidDataException>(() => PlanMapping.Jobs(part, "s-1"));
        Assert.Contains(what, refused.Message, StringComparison.Ordinal);
    }

    private static JobSpec Vary(JobSpec seed, int number, Random rng) => seed with
    {
        Id = JobSpec.MakeId("s-1", number),
        Parameters = rng.Next(3) == 0 ? seed.Parameters : TestPlans.Map(("a", $"{rng.Next(3)}"), ("b", "")),
        Form = rng.Next(2) == 0 ? null : $"f{rng.Next(3)}",
        Target = rng.Next(2) == 0 ? null : "any",
        Entries = rng.Next(2) == 0 ? [] : [$"s-1/e{rng.Next(4)}", "s-1/e9"],
        TimeoutSeconds = rng.Next(2) + 1,
        Outputs = rng.Next(2) == 0 ? seed.Outputs : ["model", "log"],
    };

    private static string Text(JobSpec job) => JsonSerializer.Serialize(job);
}
