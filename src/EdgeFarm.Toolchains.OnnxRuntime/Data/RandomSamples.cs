using EdgeFarm.ModelFormats.Npy;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>How a declared random input is drawn.</summary>
public sealed record RandomInput
{
    /// <summary>Shape of one sample, without the dimension that counts samples.</summary>
    public required long[] Shape { get; init; }

    /// <summary><c>float32</c> or <c>int64</c>.</summary>
    public string Type { get; init; } = "float32";

    /// <summary><c>uniform</c> from <see cref="Low"/> to <see cref="High"/> (excluded for integers too), or <c>normal</c> with <see cref="Mean"/> and <see cref="Std"/>.</summary>
    public string Distribution { get; init; } = "uniform";

    /// <summary>Least value.</summary>
    public double Low { get; init; }

    /// <summary>Bound above.</summary>
    public double High { get; init; } = 1;

    /// <summary>Mean of the normal distribution.</summary>
    public double Mean { get; init; }

    /// <summary>Standard deviation of the normal distribution.</summary>
    public double Std { get; init; } = 1;
}

/// <summary>Declared random input: the same numbers for the same seed, whatever part is read.</summary>
internal sealed class RandomSamples(IReadOnlyDictionary<string, RandomInput> inputs, int count, int seed) : SampleSet
{
    private readonly List<string> _names = [.. inputs.Keys.Order(StringComparer.Ordinal)];

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => _names;

    /// <inheritdoc/>
    public override IReadOnlyList<long> ShapeOf(string name) => [count, .. inputs[name].Shape];

    /// <inheritdoc/>
    public override NpyArray Read(string name, int first, int rows)
    {
        var input = inputs[name];
        var size = (int)input.Shape.Aggregate(1L, (a, d) => checked(a * d));
        var values = new double[rows * size];
        for (var row = 0; row < rows; row++)
        {
            var random = new Random(unchecked((seed * 31) + ((first + row) * 1009) + _names.IndexOf(name)));
            for (var i = 0; i < size; i++)
            {
                values[(row * size) + i] = input.Distribution == "normal"
                    ? input.Mean + (input.Std * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))
                    : input.Low + (random.NextDouble() * (input.High - input.Low));
            }
        }

        long[] shape = [rows, .. input.Shape];
        return input.Type == "int64" ? NpyArray.Of(shape, Array.ConvertAll(values, v => (long)Math.Floor(v))) : NpyArray.Of(shape, Array.ConvertAll(values, v => (float)v));
    }
}
