using System.Numerics.Tensors;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;

namespace EdgeFarm.Toolchains.OnnxRuntime.Engine;

/// <summary>
/// A sentence encoder's embeddings of queries and passages: the mean over the unmasked tokens (the output itself where it has one row for
/// each text), scaled to length 1, and how the answers rank by cosine.
/// </summary>
internal sealed class Retrieval
{
    private const int Near = 10;

    private readonly List<float[]> _queries = [];
    private readonly List<float[]> _passages = [];

    /// <summary>Takes a batch's embeddings.</summary>
    /// <param name="outputs">Outputs of the model.</param>
    /// <param name="mask">The batch's mask; null where the model has none.</param>
    /// <param name="ofPassages">Whether the texts are passages.</param>
    /// <param name="model">Name to show.</param>
    public void Add(IReadOnlyList<(float[]? Values, long[] Shape)> outputs, NpyArray? mask, bool ofPassages, string model)
    {
        var (values, shape) = outputs.FirstOrDefault(o => o.Values is not null && o.Shape.Length == 2);
        if (values is null)
        {
            (values, shape) = outputs.FirstOrDefault(o => o.Values is not null && o.Shape.Length == 3);
        }

        if (values is null)
        {
            throw new FailureException(Failure.InvalidInput($"'{model}' has no output of one row per text or per token, so there are no embeddings to rank"));
        }

        var (rows, width) = ((int)shape[0], (int)shape[^1]);
        var tokens = shape.Length == 3 ? (int)shape[1] : 1;
        var visible = shape.Length == 3 && mask is { Shape: [var r, var t] } && r == rows && t == tokens ? mask.ToInt64s() : null;
        for (var row = 0; row < rows; row++)
        {
            var embedding = new float[width];
            for (var token = 0; token < tokens; token++)
            {
                if (visible is null || visible[(row * tokens) + token] != 0)
                {
                    TensorPrimitives.Add(embedding, values.AsSpan(((row * tokens) + token) * width, width), embedding);
                }
            }

            // The mean's divisor goes away with the length.
            var length = TensorPrimitives.Norm<float>(embedding);
            if (length > 0)
            {
                TensorPrimitives.Divide(embedding, length, embedding);
            }

            (ofPassages ? _passages : _queries).Add(embedding);
        }
    }

    /// <summary>Share of queries with the right answer first and among the first ten, and the mean reciprocal rank; equal cosines rank behind.</summary>
    public (double RecallAt1, double RecallAt10, double Mrr) Rank(RetrievalSet set)
    {
        var (first, near, reciprocal) = (0, 0, 0.0);
        for (var q = 0; q < _queries.Count; q++)
        {
            var scores = _passages.ConvertAll(p => TensorPrimitives.Dot<float>(p, _queries[q]));
            // An answer that was left out by max_samples cannot be found; not a number is never near.
            var best = set.Answers[q].Where(a => a < scores.Count && !float.IsNaN(scores[a])).Select(a => scores[a]).DefaultIfEmpty(float.NegativeInfinity).Max();
            var rank = scores.Where((s, p) => !set.Answers[q].Contains(p) && s >= best).Count() + 1;
            first += rank == 1 && best > float.NegativeInfinity ? 1 : 0;
            near += rank <= Near && best > float.NegativeInfinity ? 1 : 0;
            reciprocal += best > float.NegativeInfinity ? 1.0 / rank : 0;
        }

        return ((double)first / _queries.Count, (double)near / _queries.Count, reciprocal / _queries.Count);
    }

    /// <summary>Mean cosine between the two models' embeddings of the queries.</summary>
    public double Cosine(Retrieval baseline) =>
        Enumerable.Range(0, _queries.Count).Average(i => (double)TensorPrimitives.Dot<float>(_queries[i], baseline._queries[i]));
}
