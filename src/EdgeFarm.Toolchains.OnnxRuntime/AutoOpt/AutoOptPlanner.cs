using System.Globalization;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>What a plan depends on.</summary>
/// <param name="Graph">The model.</param>
/// <param name="Processor">Where it runs.</param>
/// <param name="Goal">What is wanted.</param>
/// <param name="Precisions">Which of <c>int8</c>, <c>int4</c> and <c>fp16</c> may be tried.</param>
/// <param name="MaxSamples">Most calibration samples of a candidate; 0 for all.</param>
internal sealed record AutoOptProblem(GraphTraits Graph, ProcessorTraits Processor, AutoOptGoal Goal, IReadOnlySet<string> Precisions, int MaxSamples);

/// <summary>What is tried, in this order, and what is not.</summary>
/// <param name="Candidates">The likeliest first.</param>
/// <param name="Excluded">With reasons.</param>
internal sealed record AutoOptPlan(IReadOnlyList<Candidate> Candidates, IReadOnlyList<Exclusion> Excluded);

/// <summary>
/// Decides which chains of passes are worth making for a model, a processor and a goal. Only what cannot help is left out: what is merely
/// unlikely is made and measured. Pure.
/// </summary>
internal static class AutoOptPlanner
{
    /// <summary>The float model as ONNX Runtime rewrites it: what is left when nothing else is better.</summary>
    public const string Optimized = "optimized-fp32";

    // Operators that take less than this share of the time, and hold less than that share of the weights, cannot be worth a form of their own.
    private const double LeastTime = 0.02;
    private const double LeastBytes = 0.1;

    private const string Static = "OnnxStaticQuantization", Dynamic = "OnnxDynamicQuantization", Blocks = "OnnxMatMulNBits", Mixed = "OnnxAutoMixedPrecision", Smooth = "OnnxSmoothQuant", Prepare = "OnnxPeepholeOptimizer";

    private static readonly string[] Multiplied = ["MatMul", "Gemm"];
    private static readonly string[] DynamicOps = ["MatMul", "Gemm", "LSTM", "Attention"];
    private static readonly string[] StaticOps = ["Conv", "ConvTranspose", "MatMul", "Gemm"];

    /// <summary>What is tried first: each pass by itself, and the chains that are known to pay.</summary>
    public static AutoOptPlan Plan(AutoOptProblem problem)
    {
        var plan = new Builder(problem);
        plan.Add(Optimized, "full", "ONNX Runtime's own rewriting, saved: exact, loads faster, the answer where nothing else is better", (Prepare, []));
        if (problem.Graph.IsQuantized)
        {
            plan.Exclude("all quantized forms", "the model holds quantized operators already");
            return plan.Build();
        }

        if (problem.Graph.FloatBytes == 0)
        {
            plan.Exclude("all quantized and half-precision forms", "the model has no float32 weights");
            return plan.Build();
        }

        // Convolutional networks gain by static quantization or not at all; of transformers dynamic quantization is the least harmful.
        if (problem.Graph.Bytes("Conv", "ConvTranspose") > problem.Graph.Bytes(DynamicOps))
        {
            PlanStatic(plan);
            PlanDynamic(plan);
        }
        else
        {
            PlanDynamic(plan);
            PlanStatic(plan);
        }

        PlanBlocks(plan);
        PlanHalf(plan);
        plan.Exclude("qnn-a8w8, qnn-a16w8", "made for Qualcomm's NPU with fixed shapes, which changes the model's inputs: ask for them by name");
        if (problem.Processor.IsCpu)
        {
            plan.Exclude("openvino-int8", "laid out for OpenVINO; on ONNX Runtime's CPU provider static-int8 covers the same operators");
        }
        else
        {
            plan.AddForm("int8", "openvino-int8", "the layout that OpenVINO fuses");
        }

        return plan.Build();
    }

    /// <summary>What is tried next, in view of what came of the first: repairs where the goal was missed, combinations of what kept it.</summary>
    /// <param name="problem">As for <see cref="Plan"/>.</param>
    /// <param name="trials">All of the first plan.</param>
    public static AutoOptPlan Refine(AutoOptProblem problem, IReadOnlyList<Trial> trials)
    {
        var plan = new Builder(problem);
        if (problem.Graph.IsQuantized || problem.Graph.FloatBytes == 0)
        {
            return plan.Build();
        }

        Repair(plan, trials);
        Combine(plan, trials);
        var names = trials.Select(t => t.Candidate.Name).ToHashSet(StringComparer.Ordinal);
        var built = plan.Build();
        return built with { Candidates = [.. built.Candidates.Where(c => !names.Contains(c.Name))] };
    }

    private static void PlanDynamic(Builder plan)
    {
        var graph = plan.Problem.Graph;
        if (plan.Refuses("int8", "dynamic-int8, dynamic-int8-per-channel") || plan.Lacks("dynamic-int8, dynamic-int8-per-channel", DynamicOps))
        {
            return;
        }

        var where = string.Create(CultureInfo.InvariantCulture, $"{Share(graph, DynamicOps)}; needs no samples, activations get their scales as the model runs");
        plan.AddForm("int8", "dynamic-int8", where);
        plan.AddForm("int8", "dynamic-int8-per-channel", $"{where}; a scale per channel keeps more");
    }

    private static void PlanStatic(Builder plan)
    {
        var graph = plan.Problem.Graph;
        if (plan.Refuses("int8", "static-int8, smooth-int8") || plan.Lacks("static-int8, smooth-int8", StaticOps))
        {
            return;
        }

        plan.AddForm("int8", "static-int8", $"{Share(graph, StaticOps)}; scales from samples cost nothing while the model runs");
        if (graph.Normalizes && graph.Bytes(Multiplied) > 0)
        {
            plan.AddForm("int8", "smooth-int8", "it normalizes before it multiplies, as transformers do, whose few large channels spoil static scales");
        }
        else
        {
            plan.Exclude("smooth-int8", "no normalization comes before a multiplication, so there are no large channels to even out");
        }

        // Conv alone by samples, the rest as the model runs: one chain where neither pass alone covers both.
        if (graph.Bytes("Conv", "ConvTranspose") > 0 && graph.Bytes(DynamicOps) > 0 && graph.Time("Conv", "ConvTranspose") is not < LeastTime && graph.Time(DynamicOps) is not < LeastTime)
        {
            plan.Add(
                "static-conv+dynamic", "5-8", "convolutions and multiplications both count: scales from samples for the first, as the model runs for the second",
                (Static, [("per_channel", "true"), ("op_types_to_quantize", "Conv,ConvTranspose,Relu,Clip,LeakyRelu,MaxPool,AveragePool,GlobalAveragePool"), .. plan.Samples]), (Dynamic, [("per_channel", "true")]));
        }
    }

    private static void PlanBlocks(Builder plan)
    {
        if (plan.Problem.Graph.Bytes(Multiplied) + plan.Problem.Graph.Bytes("Gather") == 0)
        {
            plan.Exclude("int8, int4", "no MatMul, Gemm or Gather has constant weights");
            return;
        }

        if (!plan.Refuses("int8", "int8") && !plan.Lacks("int8", "MatMul", "Gemm", "Gather"))
        {
            plan.AddForm("int8", "int8", "weights in blocks, activations in float: hardly any loss, less memory to read");
        }

        if (!plan.Refuses("int4", "int4") && !plan.Lacks("int4", "MatMul", "Gemm", "Gather"))
        {
            plan.AddForm("int4", "int4", "the smallest weights, activations in float");
        }
    }

    private static void PlanHalf(Builder plan)
    {
        if (plan.Refuses("fp16", "fp16"))
        {
            return;
        }

        if (plan.Problem.Goal.Objective == Objective.Latency && plan.Problem.Processor is { IsCpu: true, IsX64: true })
        {
            plan.Exclude("fp16", "ONNX Runtime's CPU provider computes in float32 on x64 and converts at each operator, which only costs time");
        }
        else
        {
            plan.AddForm("fp16", "fp16", "half the size at hardly any loss");
        }
    }

    private static void Repair(Builder plan, IReadOnlyList<Trial> trials)
    {
        var graph = plan.Problem.Graph;
        var saturates = plan.Problem.Processor is { IsCpu: true, IsX64: true, Dots: false };
        if (plan.Allows("int8") && Missed(trials, "dynamic-int8-per-channel", "dynamic-int8") && saturates)
        {
            plan.Add(
                "dynamic-int8-reduced", "5-8", "dynamic INT8 missed the goal, and without VNNI sums of full-range products saturate: 7-bit weights do not",
                (Dynamic, [("per_channel", "true"), ("reduce_range", "true")]));
        }

        if (plan.Allows("int8") && Missed(trials, "static-int8") && saturates)
        {
            plan.Add(
                "static-int8-reduced", "5-8", "static INT8 missed the goal, and without VNNI sums of full-range products saturate: 7-bit weights do not",
                [.. OnnxForms.All.First(f => f.Name == "static-int8").Steps.Select(s => (s.Type, (IReadOnlyList<(string, string)>)[.. s.Parameters.Select(p => (p.Key, p.Value)), ("reduce_range", "true"), .. plan.Samples]))]);
        }

        if (plan.Allows("int8") && Missed(trials, "static-int8", "smooth-int8"))
        {
            (string, string)[] reduced = saturates ? [("reduce_range", "true")] : [];
            var goal = ("goal_cosine", plan.Problem.Goal.SearchedCosine.ToString("0.#########", CultureInfo.InvariantCulture));
            plan.Add(
                "mixed-int8", "5-8", "static INT8 missed the goal: a joint search keeps in float what costs most; it is given half of what may be lost, because it is judged on other samples than it chose by",
                (Mixed, [goal, .. reduced, .. plan.Samples]));
            if (graph.Normalizes && graph.Bytes(Multiplied) > 0)
            {
                plan.Add(
                    "smooth+mixed-int8", "5-8", "the same after the large channels were evened out",
                    (Smooth, [("alpha", "0.7"), .. plan.Samples]), (Mixed, [goal, .. reduced, .. plan.Samples]));
            }
        }

        if (plan.Allows("int4") && Missed(trials, "int4"))
        {
            plan.AddForm("int4", "int4-gptq", "INT4 by rounding missed the goal: rounding errors spread over samples lose less");
        }

        if (plan.Allows("fp16") && trials.All(t => !t.MeetsGoal || t.Candidate.IsSource || t.Candidate.Name == Optimized))
        {
            plan.AddForm("fp16", "fp16", "no integer form kept the goal: half the size at hardly any loss");
        }
    }

    private static void Combine(Builder plan, IReadOnlyList<Trial> trials)
    {
        var graph = plan.Problem.Graph;
        var best = trials.Where(t => t is { MeetsGoal: true, Candidate.Precision: "5-8" or "3-4" }).OrderBy(t => Value(t, plan.Problem.Goal.Objective)).FirstOrDefault();
        if (best is null)
        {
            return;
        }

        if (graph.HasFoldable)
        {
            plan.Add(
                $"prepared+{best.Candidate.Name}", best.Candidate.Precision, $"{best.Candidate.Name} leads so far, and constants that are computed in the graph hide weights from it",
                [(Prepare, []), .. Steps(best.Candidate)]);
        }

        // The tables do no arithmetic: smaller ones cost no time, and what was spent on them elsewhere need not be.
        if (plan.Allows("int4") && graph.Bytes("Gather") > LeastBytes * graph.FloatBytes && best.Candidate is { Precision: "5-8", IsSingle: true } && best.Candidate.Steps[0].Type is Dynamic)
        {
            var dynamic = best.Candidate.Steps[0].Parameters.Where(p => p.Key != "op_types_to_quantize").Select(p => (p.Key, p.Value)).Append(("op_types_to_quantize", string.Join(',', DynamicOps)));
            plan.Add(
                $"{best.Candidate.Name}+int4-tables", "5-8", $"{best.Candidate.Name} leads so far, and embedding tables, {Percent(graph.Bytes("Gather"), graph.FloatBytes)} of the weights, need no arithmetic: 4 bits do for them",
                (Blocks, [("bits", "4"), ("op_types_to_quantize", "Gather")]), (Dynamic, [.. dynamic]));
        }
    }

    private static double Value(Trial trial, Objective objective) => objective == Objective.Size ? trial.Bytes : trial.Latency?.Ratio ?? double.MaxValue;

    private static bool Missed(IReadOnlyList<Trial> trials, params string[] names)
    {
        var found = trials.Where(t => names.Contains(t.Candidate.Name)).ToList();
        return found.Count > 0 && found.All(t => !t.MeetsGoal);
    }

    private static IEnumerable<(string Type, IReadOnlyList<(string Key, string Value)> Parameters)> Steps(Candidate candidate) =>
        candidate.Steps.Select(s => (s.Type, (IReadOnlyList<(string, string)>)[.. s.Parameters.Select(p => (p.Key, p.Value))]));

    private static string Share(GraphTraits graph, string[] operators)
    {
        var present = string.Join(", ", operators.Where(o => graph.Bytes(o) > 0));
        var bytes = Percent(graph.Bytes(operators), graph.FloatBytes);
        return graph.Time(operators) is { } time ? string.Create(CultureInfo.InvariantCulture, $"{present} take {time:P0} of the time and {bytes} of the weights") : $"{present} hold {bytes} of the weights";
    }

    private static string Percent(long part, long all) => string.Create(CultureInfo.InvariantCulture, $"{(double)part / Math.Max(1, all):P0}");

    private sealed class Builder(AutoOptProblem problem)
    {
        private readonly List<Candidate> _candidates = [];
        private readonly List<Exclusion> _excluded = [];

        public AutoOptProblem Problem => problem;

        public IReadOnlyList<(string Key, string Value)> Samples => [("max_samples", problem.MaxSamples.ToString(CultureInfo.InvariantCulture))];

        public bool Allows(string precision) => problem.Precisions.Contains(precision);

        public void Add(string name, string precision, string reason, params (string Type, IReadOnlyList<(string Key, string Value)> Parameters)[] steps) => _candidates.Add(new Candidate(
            name, precision, [.. steps.Select(s => new PassStep(s.Type, s.Parameters.ToDictionary(p => p.Key, p => p.Value, StringComparer.Ordinal)))], reason));

        public void AddForm(string precision, string form, string reason)
        {
            if (Allows(precision))
            {
                var found = OnnxForms.All.First(f => f.Name == form);
                _candidates.Add(new Candidate(form, found.PrecisionClass, [.. found.Steps.Select(Sampled)], reason));
            }
        }

        public void Exclude(string name, string reason) => _excluded.Add(new Exclusion(name, reason));

        // True where the user does not want the precision.
        public bool Refuses(string precision, string names)
        {
            if (!Allows(precision))
            {
                Exclude(names, $"{precision} is not among the allowed precisions");
            }

            return !Allows(precision);
        }

        // True where these operators have no weights worth a form.
        public bool Lacks(string names, params string[] operators)
        {
            var (bytes, time) = (problem.Graph.Bytes(operators), problem.Graph.Time(operators));
            if (bytes == 0)
            {
                Exclude(names, $"no {string.Join(", ", operators[..^1])} or {operators[^1]} has constant float32 weights");
                return true;
            }

            if (time < LeastTime && bytes < LeastBytes * problem.Graph.FloatBytes)
            {
                Exclude(names, string.Create(
                    CultureInfo.InvariantCulture, $"{string.Join(", ", operators.Where(o => problem.Graph.Bytes(o) > 0))} take {time:P1} of the time and hold {Percent(bytes, problem.Graph.FloatBytes)} of the weights: nothing to gain"));
                return true;
            }

            return false;
        }

        public AutoOptPlan Build() => new(_candidates, _excluded);

        private PassStep Sampled(PassStep step) => step.Type is Static or Smooth or Mixed || step.Parameters.GetValueOrDefault("algorithm") == "gptq"
            ? step with { Parameters = new Dictionary<string, string>(step.Parameters, StringComparer.Ordinal) { ["max_samples"] = problem.MaxSamples.ToString(CultureInfo.InvariantCulture) } }
            : step;
    }
}
