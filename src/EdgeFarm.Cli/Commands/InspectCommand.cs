using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Local;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Inspect;
using Spectre.Console;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm inspect</c>: what a model file is.</summary>
internal static class InspectCommand
{
    private static readonly Argument<string> What = new("path|digest")
    {
        Description = "GGUF, safetensors or ONNX file, checkpoint directory, hf:ORG/NAME[@REVISION], or digest of an artifact of the farm",
    };
    private static readonly Option<bool> Tensors = new("--tensors") { Description = "list every tensor too" };

    public static Command Create(Terminal terminal) => ClientCommand.Create(
        terminal, "inspect", "show what a model file is: architecture, types, tokenizer, size", [What, Tensors], RunAsync);

    private static async Task<int> RunAsync(ClientContext context)
    {
        var what = context.Arguments.GetValue(What)!;
        if (!Path.Exists(what) && Digest.TryParse(what, out var digest))
        {
            return await OfDigestAsync(context, digest);
        }

        using var model = await LocalModel.OpenAsync(what, context.Terminal, context.Cancellation);
        return Tell(context, model.Input.Path, what);
    }

    private static async Task<int> OfDigestAsync(ClientContext context, Digest digest)
    {
        var artifact = await FarmFiles.StatAsync(context.Farm, digest, context.Cancellation);
        var folder = Directory.CreateTempSubdirectory("edgefarm-inspect-");
        try
        {
            var path = Path.Combine(folder.FullName, artifact.FileName);
            context.Terminal.Error.WriteLine($"fetching {digest}, {Figures.Bytes(artifact.Size)}");
            await FarmFiles.FetchAsync(context.Farm, artifact, path, Path.Combine(folder.FullName, "partial"), context.Cancellation);
            return Tell(context, path, digest.ToString());
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static int Tell(ClientContext context, string path, string name)
    {
        var outcome = ModelInspector.Inspect(path);
        if (!outcome.IsOk)
        {
            // Whatever it is, it is no model that can be told: the user gave something wrong.
            var failure = outcome.Failure!;
            throw new FailureException(Failure.InvalidInput(failure.Message.Replace(path, name, StringComparison.Ordinal)));
        }

        var model = outcome.Value;
        if (context.Json)
        {
            context.WriteDocument(Document(model, name, context.Arguments.GetValue(Tensors)));
            return ExitCodes.Done;
        }

        Write(context.Terminal, model, name, context.Arguments.GetValue(Tensors));
        return ExitCodes.Done;
    }

    private static void Write(Terminal terminal, ModelSummary model, string name, bool tensors)
    {
        var write = terminal.Out;
        void Line(string what, string? value)
        {
            if (value is { Length: > 0 })
            {
                write.WriteLine($"{what,-16} {value}");
            }
        }

        static string? Number(long? value) => value?.ToString("N0", CultureInfo.InvariantCulture);
        Line("model", name);
        Line("format", Word(model.Format));
        Line("architecture", model.Architecture);
        Line("name", model.Name);
        Line("size", $"{Figures.Bytes(model.FileBytes)} ({Number(model.FileBytes)} bytes)");
        Line("parameters", Number(model.Parameters));
        Line("bits per weight", $"{model.BitsPerWeight.ToString("0.00", CultureInfo.InvariantCulture)} (tensor data)");
        Line("context", Number(model.ContextLength));
        Line("layers", Number(model.Layers));
        if (model.Tokenizer is { } tokenizer)
        {
            var ids = string.Concat(new[] { ("bos", tokenizer.Bos), ("eos", tokenizer.Eos) }.Where(t => t.Item2 is not null).Select(t => $", {t.Item1} {t.Item2}"));
            Line("tokenizer", $"{tokenizer.Kind}, {Number(tokenizer.Tokens)} tokens{ids}");
            Line("chat template", tokenizer.ChatTemplateDigest is { } template ? $"sha256:{template}" : "none");
        }

        foreach (var note in model.Notes)
        {
            Line("note", note);
        }

        write.WriteLine();
        var table = new Table().Border(TableBorder.None).AddColumns("TYPE", "TENSORS", "PARAMETERS", "SIZE");
        foreach (var type in model.Types)
        {
            table.AddRow(Markup.Escape(type.Type), Number(type.Tensors)!, Number(type.Parameters)!, Figures.Bytes(type.Bytes));
        }

        terminal.OutConsole.Write(table);
        if (tensors)
        {
            write.WriteLine();
            var all = new Table().Border(TableBorder.None).AddColumns("TENSOR", "TYPE", "SHAPE", "SIZE");
            foreach (var tensor in model.Tensors)
            {
                all.AddRow(Markup.Escape(tensor.Name), Markup.Escape(tensor.Type), Markup.Escape($"[{string.Join(", ", tensor.Shape)}]"), Figures.Bytes(tensor.Bytes));
            }

            terminal.OutConsole.Write(all);
        }
    }

    private static JsonObject Document(ModelSummary model, string name, bool tensors)
    {
        var document = new JsonObject
        {
            ["model"] = name,
            ["format"] = Word(model.Format),
            ["architecture"] = model.Architecture,
            ["name"] = model.Name,
            ["size"] = model.FileBytes,
            ["parameters"] = model.Parameters,
            ["bits_per_weight"] = Math.Round(model.BitsPerWeight, 4),
            ["context_length"] = model.ContextLength,
            ["layers"] = model.Layers,
            ["tokenizer"] = model.Tokenizer is not { } tokenizer ? null : new JsonObject
            {
                ["kind"] = tokenizer.Kind,
                ["tokens"] = tokenizer.Tokens,
                ["bos"] = tokenizer.Bos,
                ["eos"] = tokenizer.Eos,
                ["chat_template"] = tokenizer.ChatTemplateDigest is { } template ? $"sha256:{template}" : null,
            },
            ["types"] = new JsonArray([.. model.Types.Select(t => new JsonObject
            {
                ["type"] = t.Type,
                ["tensors"] = t.Tensors,
                ["parameters"] = t.Parameters,
                ["bytes"] = t.Bytes,
            })]),
            ["notes"] = new JsonArray([.. model.Notes.Select(n => JsonValue.Create(n))]),
        };
        if (tensors)
        {
            document["tensors"] = new JsonArray([.. model.Tensors.Select(t => new JsonObject
            {
                ["name"] = t.Name,
                ["type"] = t.Type,
                ["shape"] = new JsonArray([.. t.Shape.Select(d => JsonValue.Create(d))]),
                ["bytes"] = t.Bytes,
            })]);
        }

        return document;
    }

    private static string Word(ModelFormat format) => format switch
    {
        ModelFormat.Gguf => "gguf",
        ModelFormat.Safetensors => "safetensors",
        ModelFormat.Checkpoint => "hf",
        _ => "onnx",
    };
}
