using System.Globalization;
using System.Text;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Server.SweepFiles.Schema;

/// <summary>Writes the reference of <c>docs/sweep-file.md</c> out of the sweep file's definition.</summary>
public static class ReferenceTable
{
    /// <summary>The line in the page before which nothing is generated.</summary>
    public const string StartMark = "<!-- generated: reference -->";

    /// <summary>The line in the page after which nothing is generated.</summary>
    public const string EndMark = "<!-- end of generated -->";

    /// <summary>Everything between the two marks, for the toolchains of a farm.</summary>
    public static string Write(ToolchainCatalog catalog)
    {
        var text = new StringBuilder("| key | value | default | |\n| --- | --- | --- | --- |\n");
        Fields(text, SweepSchema.For(catalog), "");
        text.Append(CultureInfo.InvariantCulture, $"\nReserved for later versions, and refused until then: {string.Join(", ", ReservedKeys(SweepSchema.For(catalog), "").Select(k => $"`{k}`"))}.\n");
        foreach (var toolchain in catalog.Toolchains)
        {
            Toolchain(text, toolchain);
        }

        return text.ToString();
    }

    /// <summary>A page with the part between the marks made anew.</summary>
    public static string Update(string page, ToolchainCatalog catalog)
    {
        var start = page.IndexOf(StartMark, StringComparison.Ordinal);
        var end = page.IndexOf(EndMark, StringComparison.Ordinal);
        return start < 0 || end < start
            ? throw new FormatException($"the page has no '{StartMark}' followed by '{EndMark}'")
            : $"{page[..(start + StartMark.Length)]}\n{Write(catalog)}{page[end..]}";
    }

    private static void Fields(StringBuilder text, ObjectSchema schema, string prefix)
    {
        foreach (var field in schema.Fields.Where(f => !f.Reserved))
        {
            var path = prefix + field.Name;
            var without = field.Required ? "required" : field.Default is { } value ? Cell(value) : "";
            Row(text, $"`{path}`", Type(field.Node), without, field.Description);
            switch (field.Node)
            {
                case ObjectSchema o:
                    Fields(text, o, path + ".");
                    break;
                case ListSchema { Item: ObjectSchema item }:
                    Fields(text, item, path + "[].");
                    break;
                default:
                    break;
            }
        }
    }

    private static IEnumerable<string> ReservedKeys(ObjectSchema schema, string prefix) => schema.Fields.SelectMany(f => f switch
    {
        { Reserved: true } => [prefix + f.Name],
        { Node: ObjectSchema o } => ReservedKeys(o, $"{prefix}{f.Name}."),
        { Node: ListSchema { Item: ObjectSchema o } } => ReservedKeys(o, $"{prefix}{f.Name}[]."),
        _ => Enumerable.Empty<string>(),
    });

    private static void Toolchain(StringBuilder text, ToolchainDescriptor toolchain)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n### {toolchain.Identity.Id}\n\nReads {string.Join(", ", toolchain.Reads.Select(r => $"`{r}`"))}; the baseline is `{toolchain.BaselineForm}`.\n");
        text.Append("\n| type | precision | |\n| --- | --- | --- |\n");
        foreach (var form in toolchain.Forms)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {string.Join(", ", form.Aliases.Insert(0, form.Name).Select(n => $"`{n}`"))} | {form.PrecisionClass} | {Cell(form.Description)} |\n");
        }

        text.Append("\n| pass, parameter | value | default | |\n| --- | --- | --- | --- |\n");
        foreach (var pass in toolchain.Passes)
        {
            Row(text, $"`{pass.Type}`", $"{string.Join(", ", pass.InputFormats)} to {pass.OutputFormat}", "", pass.Description);
            foreach (var field in SweepSchema.PassParameters(pass))
            {
                Row(text, $"`{pass.Type}.{field.Name}`", Type(((ListSchema)field.Node).Item), Cell(field.Default ?? ""), field.Description);
            }
        }
    }

    private static void Row(StringBuilder text, string key, string type, string without, string description) =>
        text.Append(CultureInfo.InvariantCulture, $"| {key} | {type} | {without} | {Cell(description)} |\n");

    private static string Type(SchemaNode node) => node switch
    {
        ObjectSchema => "mapping",
        MapSchema m => $"mapping of {m.KeyName} to {Type(m.Value)}",
        ListSchema { SingleAllowed: true } l => $"{Type(l.Item)} or list",
        ListSchema l => $"list of {Plural(Type(l.Item))}",
        ScalarSchema s => Scalar(s),
        _ => "",
    };

    private static string Plural(string type) => type switch { "mapping" => "mappings", "text" => "texts", "integer" => "integers", _ => type };

    private static string Scalar(ScalarSchema scalar)
    {
        var words = scalar.Choices.Select(c => $"`{c}`");
        var name = scalar.Kind switch
        {
            ScalarKind.Integer => "integer" + Range(scalar),
            ScalarKind.Number => "number" + Range(scalar),
            ScalarKind.Boolean => "`true`, `false`",
            ScalarKind.Choice => "",
            ScalarKind.Source => "source",
            ScalarKind.Name => "name",
            ScalarKind.Model => "model id",
            ScalarKind.DataSet => "data set id",
            ScalarKind.Target => "target id",
            _ => "text",
        };
        return string.Join(", ", name.Length == 0 ? words : [name, .. words]);
    }

    private static string Range(ScalarSchema scalar) => (double.IsFinite(scalar.Minimum), scalar.Maximum < int.MaxValue) switch
    {
        (true, true) => string.Create(CultureInfo.InvariantCulture, $" {scalar.Minimum} to {scalar.Maximum}"),
        (true, false) => string.Create(CultureInfo.InvariantCulture, $" >= {scalar.Minimum}"),
        (false, true) => string.Create(CultureInfo.InvariantCulture, $" <= {scalar.Maximum}"),
        _ => "",
    };

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
