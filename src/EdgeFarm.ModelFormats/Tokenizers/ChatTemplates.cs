using System.Text.Json;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>The Jinja templates that turn a conversation into text.</summary>
/// <param name="Default">The one without a name, or named "default"; null when there is none.</param>
/// <param name="Named">The others by name, in the order of the files.</param>
public sealed record ChatTemplates(string? Default, IReadOnlyList<KeyValuePair<string, string>> Named)
{
    private const long MaxTemplate = 1 << 24;

    /// <summary>No template.</summary>
    public static ChatTemplates None { get; } = new(null, []);

    /// <summary>
    /// Reads them: <c>chat_template</c> of tokenizer_config.json, else chat_template.jinja with additional_chat_templates/*.jinja, else
    /// chat_template.json. Throws <see cref="Core.Jobs.FailureException"/>.
    /// </summary>
    internal static ChatTemplates Read(string directory, JsonNode? config)
    {
        if (config?.Has("chat_template") == true)
        {
            return Read(config.Value.Optional("chat_template"));
        }

        var jinja = Path.Combine(directory, "chat_template.jinja");
        if (File.Exists(jinja))
        {
            var more = Path.Combine(directory, "additional_chat_templates");
            var named = Directory.Exists(more)
                ? Directory.EnumerateFiles(more, "*.jinja").Order(StringComparer.Ordinal)
                    .Select(path => KeyValuePair.Create(Path.GetFileNameWithoutExtension(path), SmallFile.ReadText(path, MaxTemplate))).ToArray()
                : [];
            return new ChatTemplates(SmallFile.ReadText(jinja, MaxTemplate), named);
        }

        return Read(JsonNode.LoadIfExists(Path.Combine(directory, "chat_template.json"), MaxTemplate)?.Optional("chat_template"));
    }

    private static ChatTemplates Read(JsonNode? node)
    {
        switch (node?.Kind)
        {
            case JsonValueKind.String:
                return new ChatTemplates(node.Value.Text(), []);
            case JsonValueKind.Array:
                var all = node.Value.Items().Select(item => KeyValuePair.Create(item.Require("name").Text(), item.Require("template").Text())).ToArray();
                return new ChatTemplates(
                    all.Where(entry => entry.Key == "default").Select(entry => entry.Value).LastOrDefault(),
                    [.. all.Where(entry => entry.Key is not ("default" or ""))]);
            default:
                return None;
        }
    }
}
