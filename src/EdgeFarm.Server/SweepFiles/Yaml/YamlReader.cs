using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeFarm.Server.SweepFiles.Yaml;

/// <summary>
/// Reads one YAML document into nodes with their places. The text is not trusted: it is bounded in size, depth and nodes, and whatever
/// lets a small text stand for a large one (anchors, aliases, merge keys) or choose a type (tags) is refused.
/// </summary>
internal sealed class YamlReader
{
    /// <summary>Most characters of a file: a sweep of ten thousand recipes fits, and a parser error shows in milliseconds.</summary>
    public const int MaxCharacters = 256 * 1024;

    private const int MaxDepth = 16;
    private const int MaxNodes = 20_000;
    private const int MaxScalar = 4096;

    private readonly Parser _parser;
    private readonly List<SweepFileError> _errors;
    private int _nodes;

    private YamlReader(TextReader text, List<SweepFileError> errors)
    {
        _parser = new Parser(text);
        _errors = errors;
    }

    /// <summary>The root of the document, or null after an error that leaves nothing to look at.</summary>
    public static YamlNode? Read(string text, List<SweepFileError> errors)
    {
        if (text.Length > MaxCharacters)
        {
            errors.Add(new SweepFileError(default, "", $"the file has {text.Length} characters; at most {MaxCharacters} are accepted", []));
            return null;
        }

        try
        {
            using var reader = new StringReader(text);
            return new YamlReader(reader, errors).ReadDocument();
        }
        catch (RefusedException e)
        {
            errors.Add(new SweepFileError(e.Position, "", e.Message, []));
        }
        catch (YamlException e)
        {
            errors.Add(new SweepFileError(PositionOf(e.Start), "", $"not valid YAML: {Clean(e)}", []));
        }

        return null;
    }

    private static SweepFilePosition PositionOf(Mark mark) => new((int)mark.Line, (int)mark.Column);

    // YamlDotNet puts the place in front of its message.
    private static string Clean(YamlException e)
    {
        var message = e.InnerException is YamlException inner ? inner.Message : e.Message;
        var colon = message.StartsWith('(') ? message.IndexOf("): ", StringComparison.Ordinal) : -1;
        return (colon < 0 ? message : message[(colon + 3)..]).TrimEnd('.', ' ').Replace('\n', ' ');
    }

    private YamlNode? ReadDocument()
    {
        Expect<StreamStart>();
        if (Peek() is StreamEnd end)
        {
            throw new RefusedException(PositionOf(end.Start), "the file is empty; it needs 'spec' with 'models' and 'recipes'");
        }

        Expect<DocumentStart>();
        var root = ReadNode(1);
        Expect<DocumentEnd>();
        return Peek() is DocumentStart second
            ? throw new RefusedException(PositionOf(second.Start), "a second document starts here; a sweep file holds one")
            : root;
    }

    private YamlNode ReadNode(int depth)
    {
        var next = Peek();
        var position = PositionOf(next.Start);
        if (depth > MaxDepth)
        {
            throw new RefusedException(position, $"nested more than {MaxDepth} levels deep");
        }

        if (++_nodes > MaxNodes)
        {
            throw new RefusedException(position, $"the file holds more than {MaxNodes} values; split it into several sweeps");
        }

        if (next is AnchorAlias or NodeEvent { Anchor.IsEmpty: false })
        {
            throw new RefusedException(position, "anchors and aliases (& and *) are not supported; write the value out");
        }

        if (next is NodeEvent { Tag.IsEmpty: false })
        {
            throw new RefusedException(position, "tags (!) are not supported; write the value without it");
        }

        switch (next)
        {
            case Scalar scalar:
                _parser.MoveNext();
                return scalar.Value.Length > MaxScalar
                    ? throw new RefusedException(position, $"a value of {scalar.Value.Length} characters; at most {MaxScalar} are accepted")
                    : new YamlScalar(position, scalar.Value, scalar.Style is ScalarStyle.Plain);
            case SequenceStart:
                return ReadList(position, depth);
            case MappingStart:
                return ReadMapping(position, depth);
            default:
                throw new RefusedException(position, "a value was expected here");
        }
    }

    private YamlList ReadList(SweepFilePosition position, int depth)
    {
        _parser.MoveNext();
        var items = new List<YamlNode>();
        while (Peek() is not SequenceEnd)
        {
            items.Add(ReadNode(depth + 1));
        }

        _parser.MoveNext();
        return new YamlList(position, items);
    }

    private YamlMapping ReadMapping(SweepFilePosition position, int depth)
    {
        _parser.MoveNext();
        var entries = new List<KeyValuePair<YamlScalar, YamlNode>>();
        var lines = new Dictionary<string, int>(StringComparer.Ordinal);
        while (Peek() is not MappingEnd)
        {
            if (ReadNode(depth + 1) is not YamlScalar key)
            {
                throw new RefusedException(position, "a key of this mapping is no text");
            }

            var value = ReadNode(depth + 1);
            if (lines.TryAdd(key.Text, key.Position.Line))
            {
                entries.Add(new(key, value));
            }
            else
            {
                _errors.Add(new SweepFileError(key.Position, key.Text, $"the key stands twice, first in line {lines[key.Text]}", []));
            }
        }

        _parser.MoveNext();
        return new YamlMapping(position, entries);
    }

    private ParsingEvent Peek() =>
        _parser.Current ?? (_parser.MoveNext() ? _parser.Current! : throw new RefusedException(default, "the file ends in the middle"));

    private void Expect<T>()
        where T : ParsingEvent
    {
        if (Peek() is not T)
        {
            throw new RefusedException(PositionOf(_parser.Current!.Start), "not a YAML document");
        }

        _parser.MoveNext();
    }

    private sealed class RefusedException(SweepFilePosition position, string message) : Exception(message)
    {
        public SweepFilePosition Position { get; } = position;
    }
}
