using System.Collections;
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting.Settings;

/// <summary>
/// Settings of one role: a JSON file, then <c>EDGEFARM__</c> variables, then the command line; the later wins. What is unknown or of
/// the wrong kind is an error that names where it stands, the setting, and what is accepted.
/// </summary>
internal sealed class SettingsReader
{
    /// <summary>Prefix of the variables.</summary>
    public const string VariablePrefix = "EDGEFARM__";

    private readonly ImmutableArray<Setting> _schema;
    private readonly Dictionary<string, object> _values = new(StringComparer.OrdinalIgnoreCase);
    private readonly List<string> _errors = [];

    private SettingsReader(ImmutableArray<Setting> schema) => _schema = schema;

    /// <summary>Reads a file (null for none) and an environment.</summary>
    /// <param name="schema">Settings of the role.</param>
    /// <param name="file">JSON file; comments and trailing commas are allowed.</param>
    /// <param name="environment">Variables, as <see cref="Environment.GetEnvironmentVariables()"/> gives them.</param>
    /// <param name="overrides">From the command line: setting to text; null where nothing was given.</param>
    public static Outcome<SettingsReader> Read(
        ImmutableArray<Setting> schema, string? file, IDictionary environment, params ReadOnlySpan<(string Setting, string? Value, string Option)> overrides)
    {
        var reader = new SettingsReader(schema);
        if (file is not null)
        {
            reader.ReadFile(file);
        }

        foreach (var (name, value) in environment.Cast<DictionaryEntry>().Select(e => ((string)e.Key, (string?)e.Value ?? "")).OrderBy(e => e.Item1, StringComparer.Ordinal))
        {
            if (name.StartsWith(VariablePrefix, StringComparison.OrdinalIgnoreCase))
            {
                reader.ReadVariable(name, value);
            }
        }

        foreach (var (setting, value, option) in overrides)
        {
            if (value is not null)
            {
                reader.SetText(reader._schema.Single(s => s.Path == setting), value, option);
            }
        }

        return reader._errors.Count == 0 ? reader : Failure.InvalidInput(string.Join(Environment.NewLine, reader._errors));
    }

    /// <summary>A text; empty or absent gives the other.</summary>
    public string Text(string path, string otherwise = "") => _values.GetValueOrDefault(path) is string { Length: > 0 } text ? text : otherwise;

    /// <summary>An address of HTTP, or null where none is given. A <see cref="FailureException"/> when it is none.</summary>
    public Uri? Address(string path) => Text(path) switch
    {
        "" => null,
        var text when Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" => address,
        var text => throw new FailureException(Failure.InvalidInput($"{path}: must be http://HOST:PORT or https://HOST:PORT, not '{text}'")),
    };

    /// <summary>A number.</summary>
    public int Number(string path, int otherwise) => _values.GetValueOrDefault(path) is long number ? (int)number : otherwise;

    /// <summary>A flag.</summary>
    public bool Flag(string path) => _values.GetValueOrDefault(path) is true;

    /// <summary>A list.</summary>
    public ImmutableArray<string> List(string path) => _values.GetValueOrDefault(path) is List<string> list ? [.. list] : [];

    /// <summary>A map.</summary>
    public ImmutableSortedDictionary<string, string> Map(string path) =>
        _values.GetValueOrDefault(path) is Dictionary<string, string> map
            ? map.ToImmutableSortedDictionary(StringComparer.Ordinal)
            : ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Device classes in the order of the file.</summary>
    public ImmutableArray<(string Name, ImmutableArray<(string Property, string Value)> Require)> Classes(string path) =>
        _values.GetValueOrDefault(path) is ImmutableArray<(string, ImmutableArray<(string, string)>)> classes ? classes : [];

    private void ReadFile(string file)
    {
        JsonObject root;
        try
        {
            var options = new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };
            if (JsonNode.Parse(File.ReadAllText(file), documentOptions: options) is not JsonObject read)
            {
                _errors.Add($"{file}: must hold one JSON object");
                return;
            }

            root = read;
            Walk(root, "", file);
        }
        catch (JsonException e)
        {
            _errors.Add($"{file}: line {(e.LineNumber ?? 0) + 1}: no JSON: {e.Message}");
        }
        catch (ArgumentException e)
        {
            // A name that stands twice is found when its object is first looked at.
            _errors.Add($"{file}: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _errors.Add($"the settings file '{file}' cannot be read: {e.Message}");
        }
    }

    private void Walk(JsonObject node, string prefix, string file)
    {
        foreach (var (name, value) in node)
        {
            var path = prefix.Length == 0 ? name : $"{prefix}.{name}";
            if (_schema.FirstOrDefault(s => s.Path.Equals(path, StringComparison.OrdinalIgnoreCase)) is { } setting)
            {
                if (value is not null)
                {
                    SetJson(setting, value, file);
                }
            }
            else if (_schema.Any(s => s.Path.StartsWith(path + ".", StringComparison.OrdinalIgnoreCase)))
            {
                if (value is JsonObject section)
                {
                    Walk(section, path, file);
                }
                else
                {
                    _errors.Add($"{file}: {path} must be an object with {string.Join(", ", Names(path))}");
                }
            }
            else
            {
                _errors.Add($"{file}: {path} is no setting; accepted {(prefix.Length == 0 ? "here" : $"in {prefix}")}: {string.Join(", ", Names(prefix))}");
            }
        }
    }

    /// <summary>The names that may stand below a path.</summary>
    private IEnumerable<string> Names(string prefix) => _schema
        .Where(s => prefix.Length == 0 || s.Path.StartsWith(prefix + ".", StringComparison.OrdinalIgnoreCase))
        .Select(s => s.Path[(prefix.Length == 0 ? 0 : prefix.Length + 1)..].Split('.')[0])
        .Distinct();

    private void SetJson(Setting setting, JsonNode value, string file)
    {
        var kind = value.GetValueKind();
        switch (setting.Kind)
        {
            case SettingKind.Text when kind == JsonValueKind.String:
                SetText(setting, value.GetValue<string>(), file);
                break;
            case SettingKind.Number when kind == JsonValueKind.Number && value.AsValue().TryGetValue<long>(out var number) && number >= setting.Minimum && number <= setting.Maximum:
                _values[setting.Path] = number;
                break;
            case SettingKind.Flag when kind is JsonValueKind.True or JsonValueKind.False:
                _values[setting.Path] = value.GetValue<bool>();
                break;
            case SettingKind.List when value is JsonArray array && array.All(i => i?.GetValueKind() == JsonValueKind.String):
                _values[setting.Path] = array.Select(i => i!.GetValue<string>()).ToList();
                break;
            case SettingKind.Map when value is JsonObject map && map.All(m => m.Value?.GetValueKind() == JsonValueKind.String):
                _values[setting.Path] = map.ToDictionary(m => m.Key, m => m.Value!.GetValue<string>(), StringComparer.Ordinal);
                break;
            case SettingKind.Classes when value is JsonObject classes:
                SetClasses(setting, classes, file);
                break;
            default:
                Wrong(setting, value.ToJsonString(), file);
                break;
        }
    }

    private void SetClasses(Setting setting, JsonObject classes, string file)
    {
        var read = ImmutableArray.CreateBuilder<(string, ImmutableArray<(string, string)>)>();
        foreach (var (name, value) in classes)
        {
            if (value is not JsonObject described || described.Count != 1 || described["require"] is not JsonObject require
                || !require.All(r => r.Value?.GetValueKind() is JsonValueKind.String or JsonValueKind.Number))
            {
                _errors.Add($"{file}: {setting.Path}.{name} must be an object with require alone, which names properties and values; got {Shorten(value?.ToJsonString() ?? "null")}");
                continue;
            }

            read.Add((name, [.. require.Select(r => (r.Key, r.Value!.ToString()))]));
        }

        _values[setting.Path] = read.ToImmutable();
    }

    private void ReadVariable(string name, string value)
    {
        var path = name[VariablePrefix.Length..].Replace("__", ".", StringComparison.Ordinal);
        if (_schema.FirstOrDefault(s => s.Path.Equals(path, StringComparison.OrdinalIgnoreCase)) is { } setting)
        {
            SetText(setting, value, name);
            return;
        }

        // A member of a map or list: EDGEFARM__LABELS__team=red, EDGEFARM__CLUSTER__SEEDS__0=a:1.
        var dot = path.LastIndexOf('.');
        var parent = dot < 0 ? null : _schema.FirstOrDefault(s => s.Path.Equals(path[..dot], StringComparison.OrdinalIgnoreCase));
        if (parent is { Kind: SettingKind.Map })
        {
            var map = _values.GetValueOrDefault(parent.Path) as Dictionary<string, string> ?? new(StringComparer.Ordinal);
            map[path[(dot + 1)..]] = value;
            _values[parent.Path] = map;
        }
        else if (parent is { Kind: SettingKind.List } && int.TryParse(path[(dot + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var index))
        {
            var list = index == 0 ? [] : _values.GetValueOrDefault(parent.Path) as List<string> ?? [];
            if (index != list.Count)
            {
                _errors.Add($"environment variable {name}: the numbers of a list must start at 0 and leave none out");
                return;
            }

            list.Add(value);
            _values[parent.Path] = list;
        }
        else
        {
            _errors.Add($"environment variable {name}: {path} is no setting; accepted: {string.Join(", ", _schema.Select(s => s.Variable))}");
        }
    }

    /// <summary>A setting from one line of text, as variables and options are.</summary>
    private void SetText(Setting setting, string value, string origin)
    {
        switch (setting.Kind)
        {
            case SettingKind.Text when setting.Choices.IsEmpty || value.Length == 0 || setting.Choices.Contains(value):
                _values[setting.Path] = value;
                break;
            case SettingKind.Number when long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number >= setting.Minimum && number <= setting.Maximum:
                _values[setting.Path] = number;
                break;
            case SettingKind.Flag when bool.TryParse(value, out var flag):
                _values[setting.Path] = flag;
                break;
            case SettingKind.List:
                _values[setting.Path] = value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).ToList();
                break;
            case SettingKind.Map when value.Length == 0:
                _values.Remove(setting.Path);
                break;
            default:
                Wrong(setting, value, origin);
                break;
        }
    }

    private void Wrong(Setting setting, string value, string origin)
    {
        var where = origin.StartsWith(VariablePrefix, StringComparison.OrdinalIgnoreCase) ? $"environment variable {origin}" : origin;

        // A connection string may hold a password.
        var got = setting.Path == "Database.ConnectionString" ? "" : $", not {Shorten(value)}";
        _errors.Add($"{where}: {setting.Path} must be {setting.Accepted}{got}");
    }

    private static string Shorten(string text) => text.Length <= 80 ? text : text[..80] + "...";
}
