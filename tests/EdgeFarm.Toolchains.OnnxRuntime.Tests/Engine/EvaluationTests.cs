using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Forms;
using EdgeFarm.Toolchains.OnnxRuntime.Optimize;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Engine;

public sealed class EvaluationTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void Answers_rank_by_cosine_of_the_mean_of_what_is_not_masked()
    {
        var ranks = new Retrieval();
        // Two queries of two tokens; the second token of the first is hidden.
        ranks.Add([([1, 0, 9, 9, 0, 2, 0, 4], [2, 2, 2])], NpyArray.Of([2, 2], [1L, 0, 1, 1]), ofPassages: false, "m");
        // Passages: (1,0), (0,1), (1,1)/sqrt2.
        ranks.Add([([1, 0, 0, 3, 5, 5], [3, 2])], null, ofPassages: true, "m");
        var set = new RetrievalSet(null!, null!, [new HashSet<int> { 0 }, new HashSet<int> { 2 }]);
        var (at1, at10, mrr) = ranks.Rank(set);
        Assert.Equal((0.5, 1, 0.75), (at1, at10, mrr));
        Assert.Equal(1, ranks.Cosine(ranks), 6);
    }

    [Fact]
    public void Equal_cosines_rank_behind()
    {
        var ranks = new Retrieval();
        ranks.Add([([1, 0], [1, 2])], null, ofPassages: false, "m");
        ranks.Add([([1, 0, 1, 0], [2, 2])], null, ofPassages: true, "m");
        Assert.Equal((0.0, 1.0, 0.5), ranks.Rank(new RetrievalSet(null!, null!, [new HashSet<int> { 0 }])));
    }

    [Fact]
    public void Errors_by_layer_name_the_node_that_loses_most()
    {
        var made = OnnxOptimizer.Run(new OnnxOptimizeRequest(TestFiles.Digits, _directory["out.onnx"], OnnxForms.Find("static-int8").Value.Steps)
        {
            Calibration = CalibrationData.Load(TestFiles.DigitsCalibration).Value,
            Threads = 1,
        });
        Assert.True(made.IsOk, made.Failure?.Message);
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(_directory["out.onnx"], TestFiles.Digits)
        {
            DataPath = TestFiles.DigitsTest,
            MaxSamples = 8,
            LayerSamples = 4,
            Settings = TestFiles.Precise with { IntraOpThreads = 1 },
        });
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Empty(result.Value.Notes);
        var layers = result.Value.Layers;
        Assert.True(layers.Count > 10, $"{layers.Count} layers");
        Assert.Contains(layers, l => l.OpType == "Conv" && l.SqnrDb is > 10 and < 80);
        // Nothing before the first node differs, so the first one that does lost all of it.
        Assert.True(layers[0].LostDb is null or > 0);
        Assert.Contains(layers, l => l.Tensor == "logits" && l.Cosine > 0.9);
        Assert.Empty(OnnxEvaluation.Run(new OnnxEvaluationRequest(TestFiles.Digits, TestFiles.Digits) { LayerSamples = 2, Settings = TestFiles.Precise }).Value.Layers);
    }

    [SkippableFact]
    public void Retrieval_of_the_sentence_encoder_is_the_readmes()
    {
        var model = TestFiles.Large("models/minilm-l6/model.onnx");
        File.Copy(TestFiles.Large("models/minilm-l6/pairs.jsonl"), _directory["pairs.jsonl"]);
        File.WriteAllText(_directory["dataset.json"], """{"kind":"text","text":"pairs.jsonl","max_length":64}""");
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(model, model) { DataPath = _directory.Root, Settings = TestFiles.Precise });
        Assert.True(result.IsOk, result.Failure?.Message);
        var metrics = result.Value.Metrics.ToDictionary(m => m.Metric, m => m.Samples[0]);
        Assert.Equal(300, result.Value.Samples);
        Assert.Equal(0.163, metrics["recall_at_1"], 0.004);
        Assert.Equal(0.480, metrics["recall_at_10"], 0.004);
        Assert.Equal(0.270, metrics["mrr"], 0.003);
        Assert.Equal(1, metrics["embedding_cosine"], 5);
    }

    [SkippableFact]
    public void Text_calibrates_as_its_tensors_do()
    {
        var model = TestFiles.Large("models/minilm-l6/model.onnx");
        var directory = Path.GetDirectoryName(model)!;
        var texts = DataSet.Open(Path.Combine(directory, "pairs.jsonl"), directory).Value;
        var tensors = DataSet.Open(Path.Combine(directory, "queries.npz")).Value;
        var width = (int)texts.Samples.ShapeOf("input_ids")[1];
        var expected = tensors.Samples.Read("input_ids", 0, 300).ToInt64s();
        var own = (int)tensors.Samples.ShapeOf("input_ids")[1];
        var actual = texts.Samples.Read("input_ids", 0, 300).ToInt64s();
        for (var i = 0; i < 300; i++)
        {
            var common = Math.Min(width, own);
            Assert.Equal(expected[(i * own)..((i * own) + common - 1)], actual[(i * width)..((i * width) + common - 1)]);
        }
    }

    public void Dispose() => _directory.Dispose();
}
