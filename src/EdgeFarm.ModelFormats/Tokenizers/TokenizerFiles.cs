using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>A token that was added to a trained vocabulary.</summary>
internal sealed record AddedToken(int Id, string Content, bool IsSpecial);

/// <summary>tokenizer.json, as far as vocabularies of the supported kinds need it. Throws <see cref="FailureException"/>.</summary>
internal sealed class TokenizerJson
{
    private const long MaxFile = 1 << 28;
    private const int MaxId = (1 << 24) - 1;

    private TokenizerJson(JsonNode root, string path)
    {
        (Root, Path) = (root, path);
        var model = root.Require("model");
        // Old files leave out the type of a BPE model.
        var type = model.Optional("type")?.Text() ?? "BPE";
        if (type != "BPE")
        {
            throw new FailureException(Failure.Unsupported($"{path}: the tokenizer is of type {type}; only BPE is supported"));
        }

        Vocabulary = model.Require("vocab").Entries().Select(entry => new AddedToken((int)entry.Value.Integer(0, MaxId), entry.Key, false)).ToList();
        Added = root.Optional("added_tokens")?.Items().Select(ReadAdded).ToList() ?? [];
        Merges = model.Optional("merges") is { } merges ? ReadMerges(merges) : [];
        FallsBackToBytes = model.Optional("byte_fallback")?.Flag() ?? false;
        IgnoresMerges = model.Optional("ignore_merges")?.Flag() ?? false;
        UnknownToken = model.Optional("unk_token")?.Text();
    }

    public string Path { get; }

    public JsonNode Root { get; }

    public IReadOnlyList<AddedToken> Vocabulary { get; }

    public IReadOnlyList<AddedToken> Added { get; }

    public IReadOnlyList<(string Left, string Right)> Merges { get; }

    public bool FallsBackToBytes { get; }

    public bool IgnoresMerges { get; }

    public string? UnknownToken { get; }

    public static TokenizerJson? LoadIfExists(string path) => JsonNode.LoadIfExists(path, MaxFile) is { } root ? new TokenizerJson(root, path) : null;

    /// <summary>The pre-tokenizers, sequences taken apart.</summary>
    public IReadOnlyList<JsonNode> PreTokenizers => Flatten(Root.Optional("pre_tokenizer"), "pretokenizers");

    /// <summary>The normalizers, sequences taken apart.</summary>
    public IReadOnlyList<JsonNode> Normalizers => Flatten(Root.Optional("normalizer"), "normalizers");

    /// <summary>The post-processors, sequences taken apart.</summary>
    public IReadOnlyList<JsonNode> PostProcessors => Flatten(Root.Optional("post_processor"), "processors");

    /// <summary>Type of a pre-tokenizer, normalizer or post-processor.</summary>
    public static string TypeOf(JsonNode node) => node.Require("type").Text();

    private static List<JsonNode> Flatten(JsonNode? node, string list)
    {
        if (node is not { } root)
        {
            return [];
        }

        return TypeOf(root) == "Sequence" ? [.. root.Require(list).Items().SelectMany(item => Flatten(item, list))] : [root];
    }

    private static AddedToken ReadAdded(JsonNode node) =>
        new((int)node.Require("id").Integer(0, MaxId), node.Require("content").Text(), node.Optional("special")?.Flag() ?? false);

    private static List<(string, string)> ReadMerges(JsonNode merges)
    {
        var pairs = new List<(string, string)>();
        foreach (var merge in merges.Items())
        {
            if (merge.Kind == JsonValueKind.Array)
            {
                if (merge.Count() != 2)
                {
                    throw merge.Error($"has {merge.Count()} parts, not 2");
                }

                var parts = merge.Items().Select(part => part.Text()).ToArray();
                pairs.Add((parts[0], parts[1]));
            }
            else
            {
                var parts = merge.Text().Split(' ');
                pairs.Add(parts.Length == 2 ? (parts[0], parts[1]) : throw merge.Error("is not two pieces with a space between"));
            }
        }

        return pairs;
    }
}
