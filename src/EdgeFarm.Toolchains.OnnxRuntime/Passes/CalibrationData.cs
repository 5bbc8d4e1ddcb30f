using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Samples for a model's inputs: arrays by input name whose first dimension counts samples.</summary>
/// <param name="Samples">The samples.</param>
/// <param name="Synthetic">Whether they are seeded random numbers, which every result made with them must say.</param>
public sealed record CalibrationData(SampleSet Samples, bool Synthetic)
{
    /// <summary>Samples in memory.</summary>
    public CalibrationData(IReadOnlyDictionary<string, NpyArray> arrays, bool synthetic) : this(new ArraySamples(arrays), synthetic)
    {
    }

    /// <summary>Class of each sample, where the data set declares them by itself.</summary>
    public IReadOnlyList<long>? Labels { get; init; }

    /// <summary>Opens a data set; see <see cref="DataSet"/> for what it may be.</summary>
    /// <param name="path">The file or directory.</param>
    /// <param name="modelDirectories">Where the model's tokenizer.json may lie.</param>
    public static Outcome<CalibrationData> Load(string path, params IReadOnlyList<string> modelDirectories)
    {
        var opened = DataSet.Open(path, modelDirectories);
        return opened.IsOk ? new CalibrationData(opened.Value.Samples, opened.Value.Synthetic) { Labels = opened.Value.Labels } : opened.Failure!;
    }
}
