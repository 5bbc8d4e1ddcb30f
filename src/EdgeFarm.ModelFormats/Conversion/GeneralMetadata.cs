using System.Globalization;
using System.Text.RegularExpressions;
using EdgeFarm.ModelFormats.Checkpoints;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Conversion;

/// <summary>Writes the <c>general.*</c> keys: sampling, names, licence, sources, tags; from generation_config.json, the model card and the name.</summary>
internal sealed partial class GeneralMetadata(GgufMetadata metadata, Checkpoint checkpoint, string modelName, long parameters)
{
    private static readonly (string Source, string Key, bool IsInteger)[] Sampling =
    [
        ("top_k", "top_k", true), ("top_p", "top_p", false), ("min_p", "min_p", false), ("xtc_probability", "xtc_probability", false),
        ("xtc_threshold", "xtc_threshold", false), ("temperature", "temp", false), ("penalty_last_n", "penalty_last_n", true),
        ("penalty_repeat", "penalty_repeat", false), ("mirostat", "mirostat", true), ("mirostat_tau", "mirostat_tau", false),
        ("mirostat_eta", "mirostat_eta", false),
    ];

    private readonly ModelCard _card = checkpoint.Card;

    /// <summary>Writes all keys.</summary>
    /// <param name="adjustName">Gives the name to write for the one that was derived.</param>
    public void Write(Func<string, string> adjustName)
    {
        WriteSampling();
        var parts = new List<ModelNameParts>();
        // A path is no name: only organization/name or a plain name counts.
        if (checkpoint.Config.NameOrPath is { Length: > 0 } path && path.Count(c => c == '/') <= 1)
        {
            parts.Add(ModelNames.Split(path, parameters));
        }

        parts.Add(ModelNames.Split(modelName, parameters));
        string? FromParts(Func<ModelNameParts, string?> part) => parts.Select(part).FirstOrDefault(value => value is not null);
        string? Titled(string? text) => text is null ? null : ModelNames.Title(text);

        Text("general.name", adjustName(Card("name", "model_name") ?? Titled(FromParts(p => p.FullName)) ?? modelName));
        Text("general.author", Card("author", "model_author", "model_creator"));
        Text("general.version", Card("version", "model_version") ?? FromParts(p => p.Version));
        Text("general.organization", Card("organization", "model_organization") ?? Titled(FromParts(p => p.Organization)));
        Text("general.finetune", Card("finetune", "model_finetune") ?? FromParts(p => p.FineTune));
        Text("general.basename", Card("basename", "model_basename", "model_type") ?? FromParts(p => p.BaseName));
        Text("general.description", Card("description", "model_description"));
        Text("general.size_label", Card("size_label", "model_size_label") ?? FromParts(p => p.SizeLabel) ?? (parameters > 0 ? ModelNames.SizeLabel(parameters) : null));
        Text("general.license", _card.List("license") is { } licenses ? string.Join(',', licenses.OfType<string>()) : null);
        Text("general.license.name", Card("license_name"));
        Text("general.license.link", Card("license_link"));
        Text("general.source.url", Card("url", "model_url"));
        Text("general.source.doi", Card("doi", "model_doi"));
        Text("general.source.uuid", Card("uuid", "model_uuid"));
        Text("general.source.repo_url", Card("repo_url", "model_repo_url"));
        WriteRelated("base_model", ["base_model", "base_models", "base_model_sources"]);
        WriteRelated("dataset", ["datasets", "dataset", "dataset_sources"]);
        WriteList("general.tags", "tags", "pipeline_tag");
        WriteList("general.languages", "languages", "language");
    }

    private string? Card(params string[] keys) => keys.Select(_card.Text).FirstOrDefault(text => text is not null);

    private void Text(string key, string? value)
    {
        if (value is not null)
        {
            metadata.Set(key, GgufValue.Of(value));
        }
    }

    private void WriteSampling()
    {
        foreach (var (source, key, isInteger) in Sampling)
        {
            var given = checkpoint.Sampling.TryGetValue(source, out var value)
                || (source == "penalty_repeat" && checkpoint.Sampling.TryGetValue("repetition_penalty", out value));
            if (given && (!isInteger || (value == Math.Truncate(value) && Math.Abs(value) <= int.MaxValue)))
            {
                metadata.Set($"general.sampling.{key}", isInteger ? GgufValue.Of((int)value) : GgufValue.Of((float)value));
            }
        }
    }

    private void WriteList(string key, params string[] sources)
    {
        if (sources.Any(source => _card.List(source) is not null))
        {
            metadata.Set(key, GgufValue.OfArray([.. sources.SelectMany(source => _card.List(source) ?? []).OfType<string>()]));
        }
    }

    // Models or data sets that this one comes from: names, addresses or maps with both.
    private void WriteRelated(string kind, string[] sources)
    {
        if (sources.FirstOrDefault(_card.Has) is not { } source)
        {
            return;
        }

        var entries = (_card.List(source) ?? []).Where(entry => entry is string or Dictionary<string, object?>).ToArray();
        metadata.Set($"general.{kind}.count", GgufValue.Of((uint)entries.Length));
        foreach (var (i, entry) in entries.Index())
        {
            var fields = entry is string text ? Related(text) : ((Dictionary<string, object?>)entry!).ToDictionary(pair => pair.Key, pair => pair.Value as string);
            foreach (var field in (string[])["name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"])
            {
                Text($"general.{kind}.{i.ToString(CultureInfo.InvariantCulture)}.{field}", fields.GetValueOrDefault(field));
            }
        }
    }

    private Dictionary<string, string?> Related(string text)
    {
        var fields = new Dictionary<string, string?>(StringComparer.Ordinal);
        var id = text;
        if (Address().IsMatch(text))
        {
            fields["repo_url"] = text;
            if (HubAddress().Match(text) is not { Success: true } match)
            {
                return fields;
            }

            id = match.Groups[1].Value;
        }

        var parts = ModelNames.Split(id, parameters);
        fields["name"] = parts.FullName is { } name ? ModelNames.Title(name) : null;
        fields["organization"] = parts.Organization is { } organization ? ModelNames.Title(organization) : null;
        fields["version"] = parts.Version;
        if (!fields.ContainsKey("repo_url") && parts is { Organization: { } owner, FullName: { } model })
        {
            fields["repo_url"] = $"https://huggingface.co/{owner}/{model}";
        }

        return fields;
    }

    [GeneratedRegex("^(https?|ssh)://")]
    private static partial Regex Address();

    [GeneratedRegex("^https?://huggingface\\.co/([^/]+/[^/]+)$")]
    private static partial Regex HubAddress();
}
