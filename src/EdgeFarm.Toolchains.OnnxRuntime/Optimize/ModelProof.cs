using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;
using EdgeFarm.Toolchains.OnnxRuntime.Passes;
using EdgeFarm.Toolchains.OnnxRuntime.Quantization;

namespace EdgeFarm.Toolchains.OnnxRuntime.Optimize;

/// <summary>Reads a written model as a stranger would and holds it against its source.</summary>
internal static class ModelProof
{
    /// <summary>Inputs and outputs as text: what callers rely on and no pass may change.</summary>
    public static string Signature(GraphProto graph)
    {
        var initializers = graph.Initializer.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        return string.Join(';', graph.Input.Where(i => !initializers.Contains(i.Name)).Select(Describe)) + " -> " + string.Join(';', graph.Output.Select(Describe));
    }

    /// <summary>
    /// Checks a file; returns the error of each quantized weight, and why it does not load where this runtime has no kernels for it
    /// (another one may have).
    /// </summary>
    /// <exception cref="FailureException">Internal: the file is not what the passes claim.</exception>
    public static (IReadOnlyList<WeightError> Weights, string? NotLoaded) Check(string path, string? signature, IReadOnlyList<QuantizedWeight> weights, int threads, CancellationToken cancellation)
    {
        var loaded = OnnxModel.Load(path);
        if (!loaded.IsOk)
        {
            throw Wrong(loaded.Failure!.Message);
        }

        var errors = new List<WeightError>(weights.Count);
        using (var model = loaded.Value)
        {
            if (signature is not null && Signature(model.Graph) is var now && now != signature)
            {
                throw Wrong($"its inputs and outputs were {signature} and are {now}");
            }

            var tensors = model.Graph.Initializer.ToDictionary(t => t.Name, StringComparer.Ordinal);
            foreach (var weight in weights)
            {
                cancellation.ThrowIfCancellationRequested();
                var decibel = weight.Sqnr(name => tensors.TryGetValue(name, out var tensor) ? tensor : throw Wrong($"'{name}' is missing"), threads);
                if (decibel < weight.FloorDb)
                {
                    throw Wrong(FormattableString.Invariant($"'{weight.Source.Name}' as {weight.Format} has {decibel:F1} dB, {weight.FloorDb} are required"));
                }

                errors.Add(new WeightError(weight.Source.Name, weight.Format, double.IsFinite(decibel) ? decibel : null));
            }
        }

        if (OrtSession.TryLoad(path, new OrtSettings { IntraOpThreads = 1 }) is { } failure)
        {
            return failure.Type switch
            {
                FailureType.Unsupported => (errors, failure.Message),
                FailureType.InvalidInput => throw Wrong(failure.Message),
                _ => throw new FailureException(failure),
            };
        }

        return (errors, null);
    }

    private static string Describe(ValueInfoProto info)
    {
        var type = info.Type?.TensorType;
        var dims = type?.Shape?.Dim.Select(d => d.HasDimValue ? $"{d.DimValue}" : d.DimParam);
        return $"{info.Name} {OnnxTensors.TypeName(type?.ElemType ?? 0)}[{string.Join(',', dims ?? [])}]";
    }

    private static FailureException Wrong(string what) => new(new Failure(FailureType.Internal, $"the passes wrote a wrong model: {what}"));
}
