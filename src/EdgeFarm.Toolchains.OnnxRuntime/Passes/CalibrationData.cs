using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Samples for a model's inputs: arrays by input name whose first dimension counts samples.</summary>
/// <param name="Arrays">By input name.</param>
/// <param name="Synthetic">Whether they are seeded random numbers, which every result made with them must say.</param>
public sealed record CalibrationData(IReadOnlyDictionary<string, NpyArray> Arrays, bool Synthetic)
{
    /// <summary>Samples: the first dimension, which all arrays share.</summary>
    public long Count => Arrays.Count == 0 ? 0 : Arrays.Values.Min(a => a.Rows);

    /// <summary>Reads .npz or .npy; a single unnamed array belongs to the model's only input.</summary>
    public static Outcome<CalibrationData> Load(string path)
    {
        var loaded = NpyFile.Load(path);
        return loaded.IsOk ? new CalibrationData(loaded.Value, false) : loaded.Failure!;
    }
}
