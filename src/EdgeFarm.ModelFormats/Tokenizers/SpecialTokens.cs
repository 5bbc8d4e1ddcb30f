using System.Text.Json;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>
/// Ids of the special tokens (bos, eos, unk, sep, pad, cls, mask, eot, eom), and which of them a tokenizer adds by itself; in the
/// order in which the files give them.
/// </summary>
public sealed class SpecialTokens
{
    private static readonly string[] Kinds = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

    private readonly List<KeyValuePair<string, int>> _ids = [];
    private readonly List<KeyValuePair<string, bool>> _adds = [];
    private readonly Dictionary<string, string> _texts = new(StringComparer.Ordinal);
    private readonly List<string> _kinds = [.. Kinds];
    private readonly int _vocabulary;

    private SpecialTokens(int vocabulary) => _vocabulary = vocabulary;

    /// <summary>Kind and id of each special token that is known.</summary>
    public IReadOnlyList<KeyValuePair<string, int>> Ids => _ids;

    /// <summary>Kind of token, and whether it is added to every text.</summary>
    public IReadOnlyList<KeyValuePair<string, bool>> Adds => _adds;

    /// <summary>The id of a kind, or null.</summary>
    public int? Id(string kind) => _ids.Where(entry => entry.Key == kind).Select(entry => (int?)entry.Value).FirstOrDefault();

    /// <summary>Reads them. Throws <see cref="Core.Jobs.FailureException"/>.</summary>
    /// <param name="json">tokenizer.json.</param>
    /// <param name="config">tokenizer_config.json, or special_tokens_map.json where that is missing.</param>
    /// <param name="configIds">Ids that config.json states.</param>
    /// <param name="vocabulary">Ids from here on do not exist.</param>
    internal static SpecialTokens Read(TokenizerJson? json, JsonNode? config, IReadOnlyDictionary<string, int> configIds, int vocabulary)
    {
        var tokens = new SpecialTokens(vocabulary);
        foreach (var kind in Kinds)
        {
            if (Text(config?.Optional($"{kind}_token")) is { Length: > 0 } text)
            {
                tokens._texts[kind] = text;
            }
        }

        if (json is not null)
        {
            tokens.Substitute("bos", "cls");
            tokens.Substitute("eos", "sep");
            foreach (var template in json.PostProcessors.Where(node => TokenizerJson.TypeOf(node) == "TemplateProcessing"))
            {
                tokens.ReadTemplate(template);
            }
        }

        foreach (var kind in tokens._kinds)
        {
            if (config?.Optional($"add_{kind}_token") is { Kind: JsonValueKind.True or JsonValueKind.False } flag)
            {
                tokens.SetAdds(kind, flag.Flag());
            }

            if (tokens._texts.TryGetValue(kind, out var text) && json?.Added.FirstOrDefault(added => added.Content == text) is { } found)
            {
                tokens.SetId(kind, found.Id);
            }
        }

        foreach (var kind in tokens._kinds.Where(configIds.ContainsKey))
        {
            tokens.SetId(kind, configIds[kind]);
        }

        return tokens;
    }

    private static string? Text(JsonNode? node) => node switch
    {
        { Kind: JsonValueKind.String } text => text.Text(),
        { Kind: JsonValueKind.Object } added when added.Optional("content") is { Kind: JsonValueKind.String } content => content.Text(),
        _ => null,
    };

    private void Substitute(string kind, string other)
    {
        if (!_texts.ContainsKey(kind) && _texts.TryGetValue(other, out var text))
        {
            _texts[kind] = text;
        }
    }

    private void SetId(string kind, int id)
    {
        if (id < _vocabulary && _ids.TrueForAll(entry => entry.Key != kind))
        {
            _ids.Add(new(kind, id));
        }
    }

    private void SetAdds(string kind, bool value)
    {
        var index = _adds.FindIndex(entry => entry.Key == kind);
        if (index < 0)
        {
            _adds.Add(new(kind, value));
        }
        else
        {
            _adds[index] = new(kind, value);
        }
    }

    // "single" says what stands around one text, "pair" what stands around and between two.
    private void ReadTemplate(JsonNode template)
    {
        var single = template.Optional("single")?.Items().ToArray() ?? [];
        string? first = null, last = null;
        if (single.Length > 1)
        {
            first = Special(single[0]);
            last = Special(single[^1]);
        }

        if (first is not null)
        {
            if (first != _texts.GetValueOrDefault("bos") && first != _texts.GetValueOrDefault("cls"))
            {
                _texts.TryAdd("bos", first);
                _texts.TryAdd("cls", first);
            }

            SetAdds("bos", first == _texts.GetValueOrDefault("bos") || first == _texts.GetValueOrDefault("cls"));
        }

        if (last is not null)
        {
            if (_texts.GetValueOrDefault("eos") is var eos && eos != last)
            {
                // The token that ends a text is the end of the sequence; what the config calls so ends a turn.
                var turn = _kinds.Contains("eot") ? "eom" : "eot";
                if (eos is not null && !_kinds.Contains(turn))
                {
                    _kinds.Add(turn);
                    _texts[turn] = eos;
                }

                _texts["eos"] = last;
            }

            SetAdds("eos", true);
        }

        ReadPair(template.Optional("pair")?.Items().ToArray() ?? [], first, last);
    }

    private void ReadPair(JsonNode[] pair, string? first, string? last)
    {
        var from = first is not null && pair.Length > 0 && Special(pair[0]) == first ? 1 : 0;
        var to = last is not null && pair.Length > 0 && Special(pair[^1]) == last ? pair.Length - 1 : pair.Length;
        if (to - from < 3 || Sequence(pair[from]) != "A" || Sequence(pair[to - 1]) != "B")
        {
            return;
        }

        var between = pair[(from + 1)..(to - 1)].Select(Special).ToArray();
        bool IsSeparator(string? text) => text is not null && (text == _texts.GetValueOrDefault("sep") || text == _texts.GetValueOrDefault("eos"));
        var adds = (IsSeparator(between[0]) && last is null) || (between.Length == 2 && IsSeparator(between[1]));
        SetAdds("sep", adds);
        if (adds && _texts.TryGetValue("eos", out var eos))
        {
            _texts.TryAdd("sep", eos);
        }
    }

    private static string? Special(JsonNode node) => node.Optional("SpecialToken")?.Optional("id")?.Text();

    private static string? Sequence(JsonNode node) => node.Optional("Sequence")?.Optional("id")?.Text();
}
