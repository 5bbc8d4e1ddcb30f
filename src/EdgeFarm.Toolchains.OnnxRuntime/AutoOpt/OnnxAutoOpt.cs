using System.Globalization;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.AutoOpt;

/// <summary>
/// Chooses and orders passes for a model, the device that it runs on and a goal, as Olive's <c>auto-opt</c> does, but by measuring: it makes
/// the forms that may be the best, judges them on samples that their passes have not seen, and times them in turns with the source.
/// </summary>
public sealed class OnnxAutoOpt : OnnxPass
{
    private const string Auto = "auto";

    // Random samples where there are none: other ones than passes calibrate with, whose seeds begin at 1.
    private const int JudgedSeed = 1001, SyntheticSamples = 16;

    /// <inheritdoc/>
    public override string Type => "OnnxAutoOpt";

    /// <inheritdoc/>
    public override string Summary => "chooses and orders passes for a quality goal and the device at hand by making and measuring forms";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override bool Measures => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("objective", PassParameterKind.Choice, "latency", "what is minimized among the forms that keep the goal: latency, or size in bytes") { Choices = ["latency", "size"] },
        new("metric", PassParameterKind.Choice, Auto, "what degradation is counted in: cosine of the outputs with the source's (1 less it), relative_error (norm of the error over that of the outputs), top1_agreement (1 less it), accuracy against labels (what is lost of it); auto takes accuracy where there are labels, else cosine")
        {
            Choices = [Auto, "cosine", "relative_error", "top1_agreement", "accuracy"],
        },
        new("max_degradation", PassParameterKind.Number, "0.02", "most that may be lost against the source, in the metric") { Minimum = 0, Maximum = 1 },
        new("labels", PassParameterKind.Text, "", "name of the calibration data's array of class numbers, for accuracy; empty for those that the data set declares by itself"),
        new("precisions", PassParameterKind.Names, "int8,int4,fp16", "precisions that may be tried") { Choices = ["int8", "int4", "fp16"] },
        new("provider", PassParameterKind.Text, Auto, "execution provider to measure on: auto takes that of the device that the job runs on"),
        new("judged_samples", PassParameterKind.Integer, "32", "samples that forms are judged on, never more than half of all; the rest calibrates") { Minimum = 1, Maximum = 100_000 },
        new("max_samples", PassParameterKind.Integer, "64", "most samples that a pass calibrates on; 0 for all") { Minimum = 0, Maximum = int.MaxValue },
        new("dims", PassParameterKind.Text, "", "without calibration data: shapes of inputs that the model leaves open, as input=1,512;state=2,1,128"),
        new("max_forms", PassParameterKind.Integer, "24", "most forms that are made") { Minimum = 1, Maximum = 1000 },
        new("max_seconds", PassParameterKind.Number, "900", "time after which no further form is made, s") { Minimum = 1, Maximum = 14_000 },
    ];

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        context.Progress(0, "running the source");
        var folder = Directory.CreateTempSubdirectory("edgefarm-auto-");
        var keepsFolder = false;
        try
        {
            var path = Path.Combine(folder.FullName, "source.onnx");
            if (model.Save(path) is { Failure: { } unsaved })
            {
                throw new FailureException(unsaved);
            }

            var provider = arguments.Text("provider") is var named && named is not ("" or Auto) ? named : context.Provider;
            var settings = new OrtSettings { IntraOpThreads = context.Threads, Provider = provider };
            var labels = Labels(arguments, context.Calibration);
            var (judge, calibration) = Judge(path, settings, labels, arguments, context);
            var goal = Goal(arguments, judge, labels is not null);
            var profile = OperatorProfile.Take(
                path, settings, session => judge.Timed[0].ToDictionary(a => a.Key, a => ModelInputs.ToOrt(session, a.Key, a.Value), StringComparer.Ordinal), context.Cancellation);
            var problem = new AutoOptProblem(
                GraphTraits.Of(model, profile), ProcessorTraits.Detect(ExecutionProviders.Short(provider) == "cpu"), goal, arguments.Names("precisions").ToHashSet(StringComparer.Ordinal), arguments.Integer("max_samples"));
            var limits = new SearchLimits(arguments.Integer("max_forms"), TimeSpan.FromSeconds(arguments.Number("max_seconds")));
            var search = new AutoOptSearch(path, folder.FullName, problem, judge, settings, calibration, Dims(arguments, context), limits, context);
            var found = search.Run();
            context.Log($"chosen: {found.Choice.Trial.Candidate.Name}: {found.Choice.Reason}");
            var report = AutoOptReport.Of(Type, arguments, problem, judge, found, context.Calibration);
            if (found.Choice.Trial.Candidate.IsSource)
            {
                return report;
            }

            var (form, made) = search.Made(found.Choice.Trial);
            Adopt(model, form, folder, context);
            keepsFolder = true;
            context.Measured.AddRange(made.Weights);
            return report with
            {
                Changed = [.. made.Passes.SelectMany(p => p.Changed)],
                Skipped = [.. made.Passes.SelectMany(p => p.Skipped)],
                Search = [.. made.Passes.SelectMany(p => p.Search)],
            };
        }
        finally
        {
            if (!keepsFolder)
            {
                folder.Delete(recursive: true);
            }
        }
    }

    // The chosen form becomes the model. Its weights stay in the folder, which is removed with the model.
    private static void Adopt(OnnxModel model, string path, DirectoryInfo folder, PassContext context)
    {
        var loaded = OnnxModel.Load(path);
        if (!loaded.IsOk)
        {
            throw new FailureException(loaded.Failure!);
        }

        var chosen = loaded.Value;
        model.Proto.Graph = chosen.Proto.Graph;
        model.Proto.IrVersion = chosen.Proto.IrVersion;
        model.Proto.OpsetImport.Clear();
        model.Proto.OpsetImport.AddRange(chosen.Proto.OpsetImport);
        model.Proto.Functions.Clear();
        model.Proto.Functions.AddRange(chosen.Proto.Functions);
        context.Owned.Add(chosen);
        context.Owned.Add(new OwnedFolder(folder));
    }

    private (FormJudge Judge, CalibrationData? Calibration) Judge(string path, OrtSettings settings, long[]? labels, PassArguments arguments, PassContext context)
    {
        using var source = OrtSession.Load(path, settings with { AllowSpinning = false });
        var wanted = arguments.Integer("judged_samples");
        if (context.Calibration is not { } data)
        {
            var shapes = ModelInputs.Shapes(source, Dims(arguments, context));
            return (FormJudge.Capture(source, SampleSource.Seeded(source, shapes, JudgedSeed, Math.Min(wanted, SyntheticSamples)), null, context.Cancellation), null);
        }

        var all = SampleSource.From(source, data.Samples, 0);
        var (calibrating, judged) = HeldOutSamples.Split(data.Samples, all.Count, all.Batch, wanted);
        var own = labels is null ? null : judged.Rows.Where(r => r < labels.Length).Select(r => labels[r]).ToArray();
        return (FormJudge.Capture(source, SampleSource.From(source, judged, 0), own, context.Cancellation), new CalibrationData(calibrating, data.Synthetic));
    }

    private IReadOnlyDictionary<string, long[]> Dims(PassArguments arguments, PassContext context) =>
        arguments.Text("dims") is { Length: > 0 } dims ? Dims(dims) : context.Dims;

    private Dictionary<string, long[]> Dims(string text)
    {
        var dims = new Dictionary<string, long[]>(StringComparer.Ordinal);
        foreach (var part in text.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var at = part.LastIndexOf('=');
            var shape = part[(at + 1)..].Split(',').Select(d => long.TryParse(d, NumberStyles.None, CultureInfo.InvariantCulture, out var dim) ? dim : -1).ToArray();
            dims[part[..Math.Max(0, at)].Trim()] = at > 0 && shape.All(d => d > 0) ? shape
                : throw new FailureException(Failure.InvalidInput($"{Type}: dims '{part}' is not a name and a list of positive dimensions, as input=1,512"));
        }

        return dims;
    }

    private AutoOptGoal Goal(PassArguments arguments, FormJudge judge, bool hasLabels)
    {
        var metric = AutoOptGoal.MetricOf(arguments.Text("metric")) ?? (hasLabels ? QualityMetric.Accuracy : QualityMetric.Cosine);
        if (metric == QualityMetric.Accuracy && judge.Source.Accuracy is null)
        {
            throw new FailureException(Failure.InvalidInput($"{Type}: metric accuracy needs labels: name the calibration data's array of class numbers with labels, or give data with labels of its own"));
        }

        if (metric == QualityMetric.Top1Agreement && judge.Source.Top1 is null)
        {
            throw new FailureException(Failure.InvalidInput($"{Type}: metric top1_agreement needs an output with a row of classes, which the model has not"));
        }

        return new AutoOptGoal(arguments.Text("objective") == "size" ? Objective.Size : Objective.Latency, metric, arguments.Number("max_degradation"));
    }

    private long[]? Labels(PassArguments arguments, CalibrationData? data)
    {
        var name = arguments.Text("labels").Trim();
        if (name.Length == 0)
        {
            return data?.Labels?.ToArray();
        }

        if (data is null || !data.Samples.Names.Contains(name))
        {
            throw new FailureException(Failure.InvalidInput(
                $"{Type}: labels '{name}' are named, but {(data is null ? "there is no calibration data" : $"the calibration data has no array of that name; it has {string.Join(", ", data.Samples.Names)}")}"));
        }

        var shape = data.Samples.ShapeOf(name);
        return shape.Count == 0 ? throw new FailureException(Failure.InvalidInput($"{Type}: labels '{name}' hold one number, not one for each sample"))
            : OnnxEvaluation.ClassNumbers(data.Samples.Read(name, 0, (int)shape[0]), name);
    }

    private sealed class OwnedFolder(DirectoryInfo folder) : IDisposable
    {
        public void Dispose() => folder.Delete(recursive: true);
    }
}
