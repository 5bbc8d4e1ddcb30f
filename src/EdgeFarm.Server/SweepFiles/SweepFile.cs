using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;
using EdgeFarm.Server.SweepFiles.Schema;
using EdgeFarm.Server.SweepFiles.Yaml;

namespace EdgeFarm.Server.SweepFiles;

/// <summary>A sweep file that was read: what it means, or what is wrong with it.</summary>
public sealed class SweepFile
{
    /// <summary>Most errors that are told at once; further ones are mostly echoes of these.</summary>
    public const int MaxErrors = 100;

    private readonly SweepMapping? _root;

    private SweepFile(SweepSpec? spec, SweepMapping? root, IEnumerable<SweepFileError> errors)
    {
        Spec = spec;
        _root = root;
        Errors = [.. errors.OrderBy(e => e.Position.Line).ThenBy(e => e.Position.Column).Take(MaxErrors)];
    }

    /// <summary>What the file means, or null when it has errors.</summary>
    public SweepSpec? Spec { get; }

    /// <summary>What is wrong with it, in the order of the file; at most <see cref="MaxErrors"/>.</summary>
    public ImmutableArray<SweepFileError> Errors { get; }

    /// <summary>Reads a file against the toolchains of a farm.</summary>
    public static SweepFile Parse(string yaml, ToolchainCatalog catalog)
    {
        var errors = new List<SweepFileError>();
        var document = YamlReader.Read(yaml, errors);
        if (document is null)
        {
            return new SweepFile(null, null, errors);
        }

        var reader = new SchemaReader(errors, SweepIds.Collect(document, errors));
        var root = reader.Read(SweepSchema.For(catalog), document, "") as SweepMapping;
        var spec = root is not null && errors.Count == 0 ? SweepSpecBinder.Bind(root, errors) : null;
        return new SweepFile(errors.Count == 0 ? spec : null, root, errors);
    }

    /// <summary>
    /// An error that was found in the spec after reading, with its place in the file.
    /// </summary>
    /// <param name="path">Path in the spec, e.g. <c>recipes[1].passes[0].block_size</c>.</param>
    /// <param name="message">What is wrong.</param>
    public SweepFileError ErrorAt(string path, string message)
    {
        var field = path.Length == 0 ? "spec" : path.StartsWith("spec", StringComparison.Ordinal) || path.StartsWith("metadata", StringComparison.Ordinal) ? path : $"spec.{path}";
        return new SweepFileError(Locate(field), field, message, []);
    }

    /// <summary>Where a field stands; when it does not, where the nearest field around it does.</summary>
    public SweepFilePosition Locate(string field)
    {
        SweepValue? at = _root;
        foreach (var step in field.Split('.', '['))
        {
            var next = at switch
            {
                SweepMapping mapping => mapping.Entries.GetValueOrDefault(step),
                SweepList list when int.TryParse(step.TrimEnd(']'), out var index) && index >= 0 && index < list.Items.Count => list.Items[index],
                _ => null,
            };
            if (next is null)
            {
                break;
            }

            at = next;
        }

        return at?.Position ?? default;
    }
}
