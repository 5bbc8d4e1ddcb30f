using EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.AutoOpt;

public sealed class AutoOptPlannerTests
{
    private static readonly ProcessorTraits OldX64 = new(IsCpu: true, IsX64: true, Dots: false, ""), NewX64 = new(true, true, true, "AVX-512 VNNI"), Arm = new(true, false, true, "dot product");

    private static readonly GraphTraits Encoder = Traits(("MatMul", 800, 0.8), ("Gather", 400, 0.01)) with { Normalizes = true };
    private static readonly GraphTraits Network = Traits(("Conv", 900, 0.95), ("Gemm", 50, 0.01));

    [Fact]
    public void An_encoder_is_tried_dynamically_first_and_with_its_outliers_evened_out()
    {
        var names = Names(Plan(Encoder, OldX64));
        Assert.Equal(["optimized-fp32", "dynamic-int8", "dynamic-int8-per-channel", "static-int8", "smooth-int8", "int8", "int4"], names);
    }

    [Fact]
    public void A_convolutional_network_is_tried_statically_and_not_by_what_touches_only_its_last_layer()
    {
        var plan = Plan(Network, OldX64);
        Assert.Equal(["optimized-fp32", "static-int8"], Names(plan));
        Assert.Contains(plan.Excluded, e => e.Name.StartsWith("dynamic-int8", StringComparison.Ordinal) && e.Reason.Contains("Gemm take 1.0 % of the time", StringComparison.Ordinal));
        Assert.Contains(plan.Excluded, e => e.Name == "smooth-int8");
    }

    [Fact]
    public void Both_kinds_of_layers_get_a_chain_of_both_passes()
    {
        var plan = Plan(Traits(("Conv", 500, 0.5), ("LSTM", 400, 0.4)), OldX64);
        var chain = Assert.Single(plan.Candidates, c => c.Name == "static-conv+dynamic");
        Assert.Equal(["OnnxStaticQuantization", "OnnxDynamicQuantization"], chain.Steps.Select(s => s.Type));
    }

    [Fact]
    public void Half_precision_is_tried_where_it_can_help()
    {
        Assert.DoesNotContain("fp16", Names(Plan(Encoder, OldX64)));
        Assert.Contains("fp16", Names(Plan(Encoder, Arm)));
        Assert.Contains("fp16", Names(Plan(Encoder, OldX64, Goal(Objective.Size))));
        Assert.Contains("fp16", Names(Plan(Encoder, OldX64 with { IsCpu = false })));
    }

    [Fact]
    public void A_quantized_model_and_one_without_float_weights_are_only_rewritten()
    {
        Assert.Equal(["optimized-fp32"], Names(Plan(Encoder with { IsQuantized = true }, OldX64)));
        Assert.Equal(["optimized-fp32"], Names(Plan(new GraphTraits(), OldX64)));
        Assert.Empty(AutoOptPlanner.Refine(Problem(Encoder with { IsQuantized = true }, OldX64, Goal(Objective.Latency)), []).Candidates);
    }

    [Fact]
    public void What_missed_the_goal_is_repaired()
    {
        var problem = Problem(Encoder, OldX64, Goal(Objective.Latency) with { MaxDegradation = 0.003 });
        var missed = AutoOptPlanner.Plan(problem).Candidates.Select(c => new Trial(c) { Bytes = 1, MeetsGoal = c.Precision == "full", Latency = LatencyRatio.Same }).ToList();
        var plan = AutoOptPlanner.Refine(problem, missed);
        Assert.Equal(["dynamic-int8-reduced", "static-int8-reduced", "mixed-int8", "smooth+mixed-int8", "int4-gptq", "fp16"], Names(plan));
        Assert.Equal("0.9985", plan.Candidates.Single(c => c.Name == "mixed-int8").Steps[0].Parameters["goal_cosine"]);

        // With instructions that do not saturate there is nothing to reduce.
        Assert.DoesNotContain(Names(AutoOptPlanner.Refine(problem with { Processor = NewX64 }, missed)), n => n.EndsWith("reduced", StringComparison.Ordinal));
    }

    [Fact]
    public void What_kept_the_goal_is_combined()
    {
        var problem = Problem(Encoder with { HasFoldable = true }, OldX64, Goal(Objective.Latency));
        var kept = AutoOptPlanner.Plan(problem).Candidates
            .Select(c => new Trial(c) { Bytes = 1, MeetsGoal = true, Latency = new LatencyRatio(c.Name == "dynamic-int8" ? 0.5 : 0.9, 0.4, 0.95, 8) }).ToList();
        var plan = AutoOptPlanner.Refine(problem, kept);
        Assert.Equal(["prepared+dynamic-int8", "dynamic-int8+int4-tables"], Names(plan));
        Assert.Equal(["OnnxMatMulNBits", "OnnxDynamicQuantization"], plan.Candidates[1].Steps.Select(s => s.Type));
        Assert.DoesNotContain("Gather", plan.Candidates[1].Steps[1].Parameters["op_types_to_quantize"], StringComparison.Ordinal);
    }

    /// <summary>Whatever the model, the processor and the goal: only allowed precisions, real passes and parameters, no name twice, a reason for everything.</summary>
    [Fact]
    public void Every_plan_can_be_run_and_explained()
    {
        var random = new Random(11);
        string[] operators = ["MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "LSTM", "GRU", "Attention"];
        for (var i = 0; i < 3000; i++)
        {
            var present = operators.Where(_ => random.Next(3) == 0).Select(o => (o, (long)random.Next(1, 1000), random.NextDouble() / 4)).ToArray();
            var graph = Traits(present) with { Normalizes = random.Next(2) == 0, HasFoldable = random.Next(2) == 0, IsQuantized = random.Next(10) == 0 };
            if (random.Next(4) == 0)
            {
                graph = graph with { TimeShares = new Dictionary<string, double>() };
            }

            var processor = new ProcessorTraits(random.Next(4) > 0, random.Next(2) == 0, random.Next(2) == 0, "");
            var precisions = new[] { "int8", "int4", "fp16" }.Where(_ => random.Next(4) > 0).ToHashSet();
            var goal = new AutoOptGoal((Objective)random.Next(2), (QualityMetric)random.Next(4), random.NextDouble());
            var problem = new AutoOptProblem(graph, processor, goal, precisions, random.Next(100));
            var first = AutoOptPlanner.Plan(problem);
            var trials = first.Candidates.Select(c => random.Next(8) == 0
                ? new Trial(c) { Failure = "no" }
                : new Trial(c) { Bytes = random.Next(1, 1000), MeetsGoal = random.Next(2) == 0, Latency = random.Next(2) == 0 ? LatencyRatio.Same : null }).ToList();
            var second = AutoOptPlanner.Refine(problem, trials);
            var all = first.Candidates.Concat(second.Candidates).ToList();
            Assert.Equal("optimized-fp32", all[0].Name);
            Assert.Equal(all.Count, all.Select(c => c.Name).Distinct().Count());
            Assert.All(first.Excluded.Concat(second.Excluded), e => Assert.NotEmpty(e.Reason));
            foreach (var candidate in all)
            {
                Assert.NotEmpty(candidate.Reason);
                Assert.False(candidate.IsSource);
                Assert.Contains(candidate.Precision, new[] { "full", "half", "5-8", "3-4" });
                Assert.True(candidate.Precision switch { "half" => precisions.Contains("fp16"), "3-4" => precisions.Contains("int4"), "5-8" => precisions.Contains("int8"), _ => true }, candidate.Name);
                Assert.All(candidate.Steps, s => Assert.True(OnnxPasses.Find(s.Type).Value.Parse(s.Parameters).IsOk, candidate.Recipe));
                Assert.DoesNotContain(candidate.Steps, s => OnnxPasses.Find(s.Type).Value.Measures);
            }
        }
    }

    private static AutoOptGoal Goal(Objective objective) => new(objective, QualityMetric.Cosine, 0.02);

    private static AutoOptProblem Problem(GraphTraits graph, ProcessorTraits processor, AutoOptGoal goal) => new(graph, processor, goal, new HashSet<string> { "int8", "int4", "fp16" }, 64);

    private static AutoOptPlan Plan(GraphTraits graph, ProcessorTraits processor, AutoOptGoal? goal = null) => AutoOptPlanner.Plan(Problem(graph, processor, goal ?? Goal(Objective.Latency)));

    private static IEnumerable<string> Names(AutoOptPlan plan) => plan.Candidates.Select(c => c.Name);

    private static GraphTraits Traits(params (string Op, long Bytes, double Time)[] operators) => new()
    {
        WeightBytes = operators.ToDictionary(o => o.Op, o => o.Bytes),
        FloatBytes = operators.Sum(o => o.Bytes),
        TimeShares = operators.ToDictionary(o => o.Op, o => o.Time),
    };
}
