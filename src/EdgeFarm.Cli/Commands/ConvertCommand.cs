using System.CommandLine;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Local;
using EdgeFarm.Core.Planning;
using EdgeFarm.Server;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm convert</c>: a checkpoint in another format, on this machine, without a farm.</summary>
internal static class ConvertCommand
{
    private const string DefaultFormat = "gguf";

    private static readonly Argument<string> Model = new("model") { Description = "checkpoint directory (config.json, *.safetensors, tokenizer files), or hf:ORG/NAME[@REVISION]" };
    private static readonly Option<string> Output = new("--output", "-o") { Description = "file to write; replaced when it is there", HelpName = "PATH", Required = true };
    private static readonly Option<string> To = new("--to") { Description = "format to convert to", HelpName = "FORMAT", DefaultValueFactory = _ => DefaultFormat };
    private static readonly Option<string?> OutType = new("--outtype") { Description = "GGUF: type of the matrices: f32, f16, bf16, q8_0 or auto (default: auto)", HelpName = "T" };
    private static readonly Option<bool> Strict = new("--strict") { Description = "GGUF: refuse what llama.cpp would load and compute differently, instead of warning" };
    private static readonly Option<string[]> Set = new("--set") { Description = "a parameter of the conversion; repeatable", HelpName = "K=V" };

    public static Command Create(Terminal terminal) => LocalCommand.Create(
        terminal, "convert", "convert a checkpoint on this machine, without a farm", [Model, Output, To, OutType, Strict, Set], RunAsync);

    private static async Task<int> RunAsync(LocalContext context)
    {
        var arguments = context.Arguments;
        var to = arguments.GetValue(To)!.ToLowerInvariant();
        var parameters = QuantizeCommand.ReadSet(arguments.GetValue(Set) ?? []).ToList();
        if (arguments.GetValue(OutType) is { } type)
        {
            parameters.Add(new LocalParameter(null, "outtype", type, OutType.Name));
        }

        if (arguments.GetValue(Strict))
        {
            parameters.Add(new LocalParameter(null, "strict", "true", Strict.Name));
        }

        using var model = await LocalModel.OpenAsync(arguments.GetValue(Model)!, context.Terminal, context.Cancellation);
        var (toolchain, pass) = Find(model.Input, to);
        return await LocalForm.MakeAsync(context, new LocalRequest(model.Input, toolchain.Identity.Id, pass.Type, [.. parameters]), arguments.GetValue(Output)!);
    }

    /// <summary>The pass that reads the model's format and writes the wanted one.</summary>
    private static (ToolchainDescriptor Toolchain, PassDescriptor Pass) Find(LocalInput model, string to)
    {
        var converters = BuiltInToolchains.Catalog.Toolchains
            .SelectMany(t => t.Passes.Select(p => (Toolchain: t, Pass: p)))
            .Where(c => c.Pass.InputFormats.Any(f => f != c.Pass.OutputFormat)).ToArray();
        var format = model.Artifact.Format;
        return converters.FirstOrDefault(c => c.Pass.OutputFormat == to && c.Pass.InputFormats.Contains(format)) is { Pass: not null } found
            ? found
            : throw new BadInputException(
                $"nothing here converts '{model.Artifact.FileName}' ({Say(format)}) to {to}; there is {string.Join(", ", converters.Select(c => $"{string.Join("/", c.Pass.InputFormats.Select(Say))} to {c.Pass.OutputFormat}"))}");
    }

    private static string Say(string format) => format == "hf" ? "a checkpoint directory" : format;
}
