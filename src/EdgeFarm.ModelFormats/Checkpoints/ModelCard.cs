using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>The YAML front matter of a checkpoint's README.md: text, lists and maps, nothing deeper than it needs to be.</summary>
public sealed class ModelCard
{
    private const long MaxFile = 1 << 24;
    private const int MaxDepth = 16;
    private const int MaxNodes = 100_000;

    private readonly Dictionary<string, object?> _values;

    private ModelCard(Dictionary<string, object?> values) => _values = values;

    /// <summary>A card that says nothing.</summary>
    public static ModelCard Empty { get; } = new([]);

    /// <summary>The text of a key, or null when it is absent or no text.</summary>
    public string? Text(string key) => _values.GetValueOrDefault(key) as string;

    /// <summary>The entries of a key: a list's, or the single text's. Null when the key is absent or empty.</summary>
    public IReadOnlyList<object?>? List(string key) => _values.GetValueOrDefault(key) switch
    {
        string text => [text],
        List<object?> list => list,
        _ => null,
    };

    /// <summary>Whether the key is there, even without a value.</summary>
    public bool Has(string key) => _values.ContainsKey(key);

    /// <summary>Reads README.md of a directory. A card is decoration: one that cannot be read is an empty one.</summary>
    internal static ModelCard Read(string directory)
    {
        var path = Path.Combine(directory, "README.md");
        if (!File.Exists(path))
        {
            return Empty;
        }

        try
        {
            return Parse(SmallFile.ReadText(path, MaxFile));
        }
        catch (FailureException)
        {
            return Empty;
        }
    }

    internal static ModelCard Parse(string markdown)
    {
        var lines = markdown.ReplaceLineEndings("\n").Split('\n');
        var end = lines[0] == "---" ? Array.IndexOf(lines, "---", 1) : -1;
        if (end < 0)
        {
            return Empty;
        }

        try
        {
            var parser = new Parser(new StringReader(string.Join('\n', lines[1..end]).Replace("\t", "  ", StringComparison.Ordinal)));
            parser.Consume<StreamStart>();
            parser.Consume<DocumentStart>();
            var budget = MaxNodes;
            return Node(parser, 0, ref budget) is Dictionary<string, object?> map ? new ModelCard(map) : Empty;
        }
        catch (YamlException)
        {
            return Empty;
        }
    }

    private static object? Node(Parser parser, int depth, ref int budget)
    {
        if (depth > MaxDepth || --budget < 0)
        {
            throw new YamlException("nested too deeply or too large");
        }

        if (parser.TryConsume<Scalar>(out var scalar))
        {
            return scalar is { IsPlainImplicit: true, Value: "" or "~" or "null" } ? null : scalar.Value;
        }

        if (parser.TryConsume<SequenceStart>(out _))
        {
            var list = new List<object?>();
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                list.Add(Node(parser, depth + 1, ref budget));
            }

            return list;
        }

        if (parser.TryConsume<MappingStart>(out _))
        {
            var map = new Dictionary<string, object?>(StringComparer.Ordinal);
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                var key = parser.Consume<Scalar>().Value;
                map[key] = Node(parser, depth + 1, ref budget);
            }

            return map;
        }

        throw new YamlException("an alias, which a model card has no need of");
    }
}
