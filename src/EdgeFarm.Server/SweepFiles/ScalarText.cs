using System.Globalization;
using System.Text.RegularExpressions;
using EdgeFarm.Artifacts.HuggingFace;
using EdgeFarm.Server.SweepFiles.Schema;
using EdgeFarm.Server.SweepFiles.Yaml;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>Reads scalars: canonical text out of what a user wrote.</summary>
internal static partial class ScalarText
{
    /// <summary>Describes what is accepted, for messages.</summary>
    public static string Expectation(ScalarSchema schema)
    {
        var numbers = schema.Kind switch
        {
            ScalarKind.Integer => "a whole number" + Range(schema),
            ScalarKind.Number => "a number" + Range(schema),
            ScalarKind.Boolean => "true or false",
            ScalarKind.Name => "a name (letters, digits, '.', '-', '_', at most 64 characters)",
            ScalarKind.Source => "a source such as bundled:NAME, file:PATH, hf:ORG/NAME[@REVISION] or blob:sha256:DIGEST",
            ScalarKind.Choice => "one of the accepted values",
            ScalarKind.Model => "the id of a model",
            ScalarKind.DataSet => "the id of a data set",
            ScalarKind.Target => "the id of a target",
            _ => "a text",
        };
        return schema.Choices.IsEmpty || schema.Kind is ScalarKind.Choice
            ? numbers
            : $"{numbers} or {string.Join(", ", schema.Choices.Select(c => $"'{c}'"))}";
    }

    /// <summary>The canonical text, or what is wrong.</summary>
    public static (string? Canonical, string? Problem) Canonical(ScalarSchema schema, YamlScalar scalar)
    {
        var text = scalar.Text;
        var comparison = schema.IgnoreCase ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;
        if (schema.Choices.FirstOrDefault(c => c.Equals(text, comparison)) is { } choice)
        {
            return (choice, null);
        }

        var canonical = schema.Kind switch
        {
            ScalarKind.Text => text,
            ScalarKind.Name => NamePattern().IsMatch(text) ? text : null,
            ScalarKind.Source => SourcePattern().IsMatch(text) || HubSource.TryParse(text, out _) ? text : null,
            ScalarKind.Boolean => scalar.IsPlain && text is "true" or "false" or "True" or "False" or "TRUE" or "FALSE" ? text.ToLowerInvariant() : null,
            ScalarKind.Integer => scalar.IsPlain && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole)
                && whole >= schema.Minimum && whole <= schema.Maximum ? whole.ToString(CultureInfo.InvariantCulture) : null,
            ScalarKind.Number => scalar.IsPlain && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                && double.IsFinite(number) && number >= schema.Minimum && number <= schema.Maximum ? number.ToString("R", CultureInfo.InvariantCulture) : null,
            _ => null,
        };
        return canonical is not null ? (canonical, null) : (null, Problem(schema, scalar));
    }

    private static string Problem(ScalarSchema schema, YamlScalar scalar) => schema.Kind switch
    {
        ScalarKind.Choice => $"unknown value {scalar.Kind}",
        ScalarKind.Source when ReservedSourcePattern().Match(scalar.Text) is { Success: true } later =>
            $"'{later.Value}' sources are reserved, not supported yet; fetch it and use file:PATH",
        _ => $"expected {Expectation(schema)}, found {(scalar.IsPlain ? "" : "the text ")}{scalar.Kind}",
    };

    private static string Range(ScalarSchema schema) => (double.IsFinite(schema.Minimum), double.IsFinite(schema.Maximum)) switch
    {
        (true, true) => string.Create(CultureInfo.InvariantCulture, $" from {schema.Minimum} to {schema.Maximum}"),
        (true, false) => string.Create(CultureInfo.InvariantCulture, $" of at least {schema.Minimum}"),
        (false, true) => string.Create(CultureInfo.InvariantCulture, $" of at most {schema.Maximum}"),
        _ => "",
    };

    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"\A(bundled:[A-Za-z0-9][A-Za-z0-9._-]{0,63}|file:[^\x00-\x1f]{1,1024}|blob:sha256:[0-9A-Fa-f]{64})\z")]
    private static partial Regex SourcePattern();

    [GeneratedRegex(@"\Ahttps:")]
    private static partial Regex ReservedSourcePattern();
}
