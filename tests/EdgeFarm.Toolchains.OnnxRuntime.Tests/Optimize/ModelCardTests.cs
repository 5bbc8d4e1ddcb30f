using System.Globalization;
using EdgeFarm.Toolchains.OnnxRuntime.Data;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Optimize;

/// <summary>
/// Every row of the tables in the test models' cards: what ONNX Runtime's own quantizer makes of them is the least that these passes may
/// give. The cards were made on a CPU with VNNI; without it sums of products saturate in 16 bits, which is the machine's error and not the form's, so the
/// runtime is asked for sums of 32 bits.
/// </summary>
public sealed class ModelCardTests(ModelCardTests.MiniLm encoder, Xunit.Abstractions.ITestOutputHelper log) : IClassFixture<ModelCardTests.MiniLm>, IDisposable
{
    // A card's figures are rounded: half a unit of the last place comes on top.
    private const double Cosine = 0.002, Decibel = 0.5, Recall = 0.0105, Accuracy = 0.0045;
    private const string Weighted = "/query*,/key*,/value*,/dense*";

    private readonly TemporaryDirectory _directory = new();

    [SkippableTheory]
    // One scale for all would keep less than 10 dB of one matrix, which is therefore left in float: 1.8 MB more, 2 dB better.
    [InlineData("OnnxDynamicQuantization", "", 24.5, .160, .467, .263, .9579, 10.2)]
    [InlineData("OnnxDynamicQuantization", "per_channel=true", 22.8, .177, .463, .275, .9921, 16.6)]
    [InlineData("OnnxDynamicQuantization", "per_channel=true reduce_range=true", 22.8, .163, .477, .269, .9908, 16.2)]
    [InlineData("OnnxDynamicQuantization", "weight_type=uint8", 22.7, .170, .470, .276, .9797, 13.1)]
    [InlineData("OnnxMatMulNBits", "", 54.5, .167, .463, .266, .9655, 12.5)]
    [InlineData("OnnxMatMulNBits", "block_size=128 is_symmetric=false", 53.5, .173, .467, .273, .9522, 10.8)]
    [InlineData("OnnxMatMulNBits", "bits=8", 59.8, .163, .470, .270, .9996, 31.3)]
    [InlineData("OnnxStaticQuantization", "", 22.8, .047, .213, .100, .3115, -0.1)]
    [InlineData("OnnxStaticQuantization", "per_channel=true", 22.9, .067, .197, .116, .3357, 0.0)]
    [InlineData("OnnxStaticQuantization", "activation_type=uint16", 34.7, .163, .467, .268, .9656, 11.2)]
    [InlineData("OnnxStaticQuantization", "per_channel=true op_types_to_quantize=MatMul", 58.6, .167, .453, .262, .9304, 6.2)]
    [InlineData("OnnxStaticQuantization", "per_channel=true op_types_to_quantize=MatMul nodes_to_quantize=" + Weighted, 58.6, .163, .463, .257, .9311, 6.2)]
    [InlineData("OnnxStaticQuantization", "per_channel=true op_types_to_quantize=MatMul calibrate_method=Percentile percentile=99.99 nodes_to_quantize=" + Weighted, 58.6, .157, .397, .244, .8353, 5.2)]
    [InlineData("OnnxStaticQuantization", "per_channel=true op_types_to_quantize=MatMul nodes_to_exclude=/dense_2/*,/dense_5/*,/dense_8/*,/dense_11/*,/dense_14/*,/dense_17/* nodes_to_quantize=" + Weighted, 69.2, .173, .483, .280, .9906, 15.0)]
    public void The_sentence_encoders_forms_are_as_good_as_its_card(
        string pass, string parameters, double megabytes, double recallAt1, double recallAt10, double mrr, double cosine, double decibel)
    {
        var bytes = Make(MiniLm.Model, TestFiles.Large("models/minilm-l6/calibration.npz"), pass, parameters);
        var (found, sqnr) = encoder.Judge(_directory["out.onnx"], TestFiles.Precise);
        var figures = string.Create(
            CultureInfo.InvariantCulture,
            $"{bytes} bytes, recall@1 {found.RecallAt1:F3}, recall@10 {found.RecallAt10:F3}, MRR {found.Mrr:F3}, cosine {found.Cosine:F4}, {sqnr:F2} dB");
        log.WriteLine(figures);
        Assert.True(bytes <= (megabytes + 0.1) * 1e6, figures);
        Assert.True(found.RecallAt1 >= recallAt1 - Recall, figures);
        Assert.True(found.RecallAt10 >= recallAt10 - Recall, figures);
        Assert.True(found.Mrr >= mrr - Recall, figures);
        Assert.True(found.Cosine >= cosine - Cosine, figures);
        Assert.True(sqnr >= decibel - Decibel, figures);
    }

    // From calibration data and a goal alone: no tensor, operator or layer is named.
    [SkippableFact]
    public void Automatic_mixed_precision_makes_integer_activations_of_the_sentence_encoder_usable()
    {
        var form = Forms.OnnxForms.Find("mixed-int8").Value;
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(MiniLm.Model, _directory["out.onnx"], form.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.Large("models/minilm-l6/calibration.npz")).Value,
        });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        var report = outcome.Value.Passes[^1];
        var (found, sqnr) = encoder.Judge(_directory["out.onnx"], TestFiles.Precise);
        var figures = string.Create(
            CultureInfo.InvariantCulture,
            $"{report.Figures["integer_weighted_nodes"]} of {report.Figures["candidate_weighted_nodes"]} weights, recall@10 {found.RecallAt10:F3}, cosine {found.Cosine:F4}, {sqnr:F2} dB");
        log.WriteLine(figures);
        Assert.True(report.Changed.Count(c => c.OpType == "MatMul" && c.Node.Split('/')[1].Split('_')[0] is "query" or "key" or "value" or "dense") >= 30, figures);
        Assert.True(found.RecallAt10 >= 0.46, figures);
        Assert.True(found.Cosine >= 0.985, figures);
    }

    [Theory]
    [InlineData("activation_type=int8", 168_675, .990, 30.4)]
    [InlineData("", 168_481, .990, 30.4)]
    [InlineData("per_channel=true", 198_554, .990, 32.5)]
    [InlineData("per_channel=true reduce_range=true", 198_554, .992, 31.1)]
    [InlineData("per_channel=true calibrate_method=Percentile percentile=99.999", 198_555, .990, 32.4)]
    [InlineData("per_channel=true calibrate_method=Entropy num_bins=128", 198_554, .990, 32.5)]
    [InlineData("per_channel=true activation_type=uint16", 198_430, .990, 35.6)]
    public void The_digits_forms_are_as_good_as_their_card(string parameters, long most, double accuracy, double decibel)
    {
        var bytes = Make(TestFiles.Digits, TestFiles.DigitsCalibration, "OnnxStaticQuantization", parameters);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits) { DataPath = TestFiles.DigitsTest, Labels = "label", Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        double Value(string metric) => result.Value.Metrics.Single(m => m.Metric == metric).Samples[0];
        var figures = string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes, accuracy {Value("accuracy"):F3}, {Value("sqnr"):F2} dB");
        log.WriteLine(figures);
        Assert.True(bytes <= most * 1.02, figures);
        Assert.True(Value("accuracy") >= accuracy - Accuracy, figures);
        Assert.True(Value("sqnr") >= decibel - Decibel, figures);
    }

    public void Dispose() => _directory.Dispose();

    private long Make(string model, string calibration, string pass, string parameters)
    {
        var given = parameters.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(p => p.Split('=', 2)).ToDictionary(p => p[0], p => p[1]);
        var outcome = OnnxOptimizer.Run(new OnnxOptimizeRequest(model, _directory["out.onnx"], [new PassStep(pass, given)]) { Calibration = CalibrationData.Load(calibration).Value });
        Assert.True(outcome.IsOk, outcome.Failure?.Message);
        return outcome.Value.OutputBytes;
    }

    /// <summary>The float encoder's outputs on the queries, once for all forms.</summary>
    public sealed class MiniLm
    {
        private DataSet? _data;
        private List<(float[]? Values, long[] Shape)>[] _expected = [];
        private Retrieval _baseline = new();

        internal static string Model => TestFiles.Large("models/minilm-l6/model.onnx");

        internal ((double RecallAt1, double RecallAt10, double Mrr, double Cosine) Ranks, double Sqnr) Judge(string form, OrtSettings settings)
        {
            Prepare();
            using var session = OrtSession.Load(form, settings);
            var (comparison, ranks) = (new OutputComparison(), new Retrieval());
            var set = _data!.Retrieval!;
            foreach (var (first, arrays) in SampleSource.From(session, _data.Samples, 0).Batches)
            {
                var actual = OnnxEvaluation.RunAll(session, session.Outputs, arrays);
                OnnxEvaluation.Compare(comparison, _expected[first][0], actual[0], OnnxEvaluation.Mask(arrays), "last_hidden_state");
                ranks.Add(actual, OnnxEvaluation.Mask(arrays), ofPassages: false, form);
            }

            foreach (var (_, arrays) in SampleSource.From(session, set.Passages, 0).Batches)
            {
                ranks.Add(OnnxEvaluation.RunAll(session, session.Outputs, arrays), OnnxEvaluation.Mask(arrays), ofPassages: true, form);
            }

            var (at1, at10, mrr) = ranks.Rank(set);
            return ((at1, at10, mrr, ranks.Cosine(_baseline)), comparison.SqnrDb!.Value);
        }

        private void Prepare()
        {
            if (_data is not null)
            {
                return;
            }

            _data = DataSet.Open(Path.GetDirectoryName(Model)!, []).Value;
            using var session = OrtSession.Load(Model, new OrtSettings { AllowSpinning = false });
            var samples = SampleSource.From(session, _data.Samples, 0);
            _expected = new List<(float[]? Values, long[] Shape)>[samples.Count];
            _baseline = new Retrieval();
            foreach (var (first, arrays) in samples.Batches)
            {
                _expected[first] = OnnxEvaluation.RunAll(session, session.Outputs, arrays);
                _baseline.Add(_expected[first], OnnxEvaluation.Mask(arrays), ofPassages: false, Model);
            }
        }
    }
}
