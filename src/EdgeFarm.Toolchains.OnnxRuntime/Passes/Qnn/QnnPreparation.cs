using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Graphs;
using EdgeFarm.ModelFormats.Onnx.Proto;
using EdgeFarm.Toolchains.OnnxRuntime.Calibration;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Preparation;
using EdgeFarm.Toolchains.OnnxRuntime.Passes.Static;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes.Qnn;

/// <summary>
/// Brings a float model into the shape that Qualcomm's provider wants before it is quantized: fixed shapes (those of the calibration
/// samples), Gelu instead of Erf, constants folded, MatMul with a bias as Gemm. The result is run beside the model that came in.
/// </summary>
public sealed class QnnPreparation : OnnxPass
{
    // The first operator set with Gelu is 20; 16-bit QuantizeLinear needs 21.
    private const long NeededOpset = 21;

    /// <inheritdoc/>
    public override string Type => "QnnPreparation";

    /// <inheritdoc/>
    public override string Summary => "fixed shapes, Gelu and folded constants, as Qualcomm's provider wants them before quantization";

    /// <inheritdoc/>
    public override bool UsesCalibration => true;

    /// <inheritdoc/>
    public override IReadOnlyList<PassParameter> Parameters { get; } =
    [
        new("level", PassParameterKind.Choice, "basic", "how far ONNX Runtime rewrites: basic folds constants and makes Gemm of MatMul and Add") { Choices = ["disabled", "basic"] },
    ];

    /// <inheritdoc/>
    internal override bool KeepsSignature(PassArguments arguments) => false;

    /// <inheritdoc/>
    protected override PassReport Run(OnnxModel model, PassArguments arguments, PassContext context)
    {
        var before = model.Graph.Node.Count;
        GraphCleanup.ConstantsToInitializers(model);
        if (OpsetUpgrade.Raise(model, NeededOpset) is { Failure: { } failure })
        {
            throw new FailureException(failure);
        }

        using var source = model.CopySharingWeights();
        OutputJudge judge;
        IReadOnlyDictionary<string, long[]> shapes;
        using (var calibrator = Calibrator.Create(model, model.Graph.Output.Select(o => o.Name), 0, context))
        {
            judge = OutputJudge.Capture(model, calibrator, 4, context);
            shapes = calibrator.InputShapes;
        }

        var notes = new List<string>();
        var changed = new List<ChangedOp>();
        Fix(model, shapes, changed);
        var gelus = GeluFusion.Run(model);
        if (gelus > 0)
        {
            changed.Add(new ChangedOp("", "Erf", $"{gelus} became Gelu"));
        }

        GraphCleanup.RemoveDead(model);
        if (arguments.Text("level") != "disabled")
        {
            OnnxPeepholeOptimizer.Rewrite(model, arguments.Text("level"), context);
            GraphCleanup.RemoveDead(model);
        }

        judge.RequireSame(Type, source, model, notes);
        notes.Add($"{before} nodes became {model.Graph.Node.Count}");
        return new PassReport(Type, arguments.Values, changed, [], notes) { Synthetic = context.Calibration?.Synthetic ?? true };
    }

    private static void Fix(OnnxModel model, IReadOnlyDictionary<string, long[]> shapes, List<ChangedOp> changed)
    {
        var symbols = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var input in model.Graph.Input.Where(i => shapes.ContainsKey(i.Name)))
        {
            var dims = input.Type.TensorType.Shape.Dim;
            var fixedDims = shapes[input.Name];
            if (dims.All(d => d.HasDimValue && d.DimValue > 0))
            {
                continue;
            }

            for (var i = 0; i < dims.Count; i++)
            {
                if (dims[i].DimParam.Length > 0 && !symbols.TryAdd(dims[i].DimParam, fixedDims[i]) && symbols[dims[i].DimParam] != fixedDims[i])
                {
                    throw new FailureException(Failure.InvalidInput($"dimension '{dims[i].DimParam}' is {symbols[dims[i].DimParam]} and {fixedDims[i]} in the calibration samples; it can be fixed to one value only"));
                }

                dims[i] = new TensorShapeProto.Types.Dimension { DimValue = fixedDims[i] };
            }

            changed.Add(new ChangedOp(input.Name, "input", $"fixed to [{string.Join(", ", fixedDims)}]"));
        }

        foreach (var dims in model.Graph.Output.Where(o => o.Type?.TensorType?.Shape is not null).Select(o => o.Type.TensorType.Shape.Dim))
        {
            for (var i = 0; i < dims.Count; i++)
            {
                if (symbols.TryGetValue(dims[i].DimParam, out var value))
                {
                    dims[i] = new TensorShapeProto.Types.Dimension { DimValue = value };
                }
            }
        }

        // Notes about inner values may contradict the fixed shapes; the runtime infers them again.
        var open = model.Graph.ValueInfo.Where(v => v.Type?.TensorType?.Shape is not { } shape || shape.Dim.All(d => d.HasDimValue)).ToList();
        model.Graph.ValueInfo.Clear();
        model.Graph.ValueInfo.AddRange(open);
    }
}
