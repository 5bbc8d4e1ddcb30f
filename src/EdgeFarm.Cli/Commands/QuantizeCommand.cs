using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Local;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm quantize</c>: one form of one model on this machine, without a farm.</summary>
internal static class QuantizeCommand
{
    private static readonly Argument<string> Model = new("model")
    {
        Description = "GGUF or ONNX file, checkpoint directory, or hf:ORG/NAME[@REVISION]",
    };
    private static readonly Argument<string> Form = new("form")
    {
        Description = "a form (Q4_K_M, dynamic-int8, ...) or the type of a pass (OnnxMatMulNBits); a wrong one lists all",
    };
    private static readonly Option<string> Output = new("--output", "-o") { Description = "file to write; replaced when it is there", HelpName = "OUT", Required = true };
    private static readonly Option<string?> Toolchain = new("--toolchain") { Description = "what makes it (default: the toolchain that reads the model)", HelpName = "T" };
    private static readonly Option<string[]> Set = new("--set")
    {
        Description = "a parameter of a pass, also PASS.K=V; repeatable; docs/sweep-file.md lists them",
        HelpName = "K=V",
    };
    private static readonly Option<string?> Calibration = new("--calibration")
    {
        Description = "calibration data: tensors (.npz, .npy) for ONNX, a text for llama.cpp's importance matrix",
        HelpName = "PATH",
    };
    private static readonly Option<string[]> Dims = new("--dims")
    {
        Description = "shape of an input that an ONNX model leaves open, for passes without calibration data, e.g. x=1,3,48,320; repeatable",
        HelpName = "INPUT=SHAPE",
    };
    private static readonly Option<string?> Imatrix = new("--imatrix") { Description = "llama.cpp: importance matrix in GGUF form", HelpName = "FILE" };
    private static readonly Option<string?> OutputType = new("--output-type") { Description = "llama.cpp: type of output.weight", HelpName = "T" };
    private static readonly Option<string?> EmbeddingType = new("--token-embedding-type") { Description = "llama.cpp: type of the token embeddings", HelpName = "T" };
    private static readonly Option<string[]> TensorType = new("--tensor-type")
    {
        Description = "llama.cpp: type of the tensors whose name a pattern fits; repeatable, the first match decides",
        HelpName = "PATTERN=T",
    };
    private static readonly Option<bool> Pure = new("--pure") { Description = "llama.cpp: one type for all tensors instead of a mixture" };
    private static readonly Option<bool> AllowRequantize = new("--allow-requantize") { Description = "llama.cpp: quantize what is quantized already, at a loss" };
    private static readonly Option<bool> LeaveOutput = new("--leave-output-tensor") { Description = "llama.cpp: leave output.weight as it is" };
    private static readonly Option<string?> PruneLayers = new("--prune-layers") { Description = "llama.cpp: layers to leave out, from 0, e.g. 3,4", HelpName = "L" };

    public static Command Create(Terminal terminal) => LocalCommand.Create(
        terminal,
        "quantize",
        "make one form of a model on this machine, without a farm: the same bytes as a sweep makes",
        [Model, Form, Output, Toolchain, Set, Calibration, Dims, Imatrix, OutputType, EmbeddingType, TensorType, Pure, AllowRequantize, LeaveOutput, PruneLayers],
        RunAsync);

    /// <summary>The parameters of <c>--set</c>.</summary>
    public static IEnumerable<LocalParameter> ReadSet(IEnumerable<string> given) => given.Select(text =>
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals < 1)
        {
            throw new BadInputException($"--set '{text}' must be K=V, e.g. --set bits=4");
        }

        var name = text[..equals];
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        return new LocalParameter(dot > 0 ? name[..dot] : null, name[(dot + 1)..], text[(equals + 1)..], $"--set {name}");
    });

    /// <summary>The shapes of <c>--dims</c>.</summary>
    public static ImmutableSortedDictionary<string, ImmutableArray<long>> ReadDims(IEnumerable<string> given)
    {
        var dims = ImmutableSortedDictionary.CreateBuilder<string, ImmutableArray<long>>(StringComparer.Ordinal);
        foreach (var text in given)
        {
            var equals = text.LastIndexOf('=');
            var shape = text[(equals + 1)..].Split(',').Select(d => int.TryParse(d, NumberStyles.None, CultureInfo.InvariantCulture, out var dim) ? (long)dim : 0).ToImmutableArray();
            if (equals < 1 || shape.Any(d => d < 1))
            {
                throw new BadInputException($"--dims '{text}' must be an input and its positive dimensions, e.g. --dims x=1,3,48,320");
            }

            dims[text[..equals]] = shape;
        }

        return dims.ToImmutable();
    }

    private static async Task<int> RunAsync(LocalContext context)
    {
        var arguments = context.Arguments;
        var parameters = ReadSet(arguments.GetValue(Set) ?? []).ToList();
        void Add(Option option, string name, string? value)
        {
            if (value is not null)
            {
                parameters.Add(new LocalParameter(null, name, value, option.Name));
            }
        }

        Add(Calibration, "calibration", arguments.GetValue(Calibration));
        Add(Imatrix, "imatrix", arguments.GetValue(Imatrix));
        Add(OutputType, "output_tensor_type", arguments.GetValue(OutputType));
        Add(EmbeddingType, "token_embedding_type", arguments.GetValue(EmbeddingType));
        Add(TensorType, "tensor_type", arguments.GetValue(TensorType) is { Length: > 0 } types ? string.Join(' ', types) : null);
        Add(PruneLayers, "prune_layers", arguments.GetValue(PruneLayers));
        foreach (var (option, name) in new[] { (Pure, "pure"), (AllowRequantize, "allow_requantize"), (LeaveOutput, "leave_output_tensor") })
        {
            Add(option, name, arguments.GetValue(option) ? "true" : null);
        }

        using var model = await LocalModel.OpenAsync(arguments.GetValue(Model)!, context.Terminal, context.Cancellation);
        return await LocalForm.MakeAsync(
            context,
            new LocalRequest(model.Input, arguments.GetValue(Toolchain), arguments.GetValue(Form)!, [.. parameters]) { Dims = ReadDims(arguments.GetValue(Dims) ?? []) },
            arguments.GetValue(Output)!);
    }
}
