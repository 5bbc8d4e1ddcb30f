namespace EdgeFarm.Server.SweepFiles;

/// <summary>A value of a sweep file that was checked against the schema.</summary>
/// <param name="Position">Where it stands.</param>
/// <param name="Path">Its field path.</param>
internal abstract record SweepValue(SweepFilePosition Position, string Path);

/// <summary>A scalar in canonical spelling.</summary>
internal sealed record SweepScalar(SweepFilePosition Position, string Path, string Text) : SweepValue(Position, Path);

/// <summary>A list; a single value that stands for a list is one.</summary>
internal sealed record SweepList(SweepFilePosition Position, string Path, IReadOnlyList<SweepValue> Items) : SweepValue(Position, Path);

/// <summary>A mapping.</summary>
internal sealed record SweepMapping(SweepFilePosition Position, string Path, IReadOnlyDictionary<string, SweepValue> Entries) : SweepValue(Position, Path)
{
    /// <summary>The text of a key, or null.</summary>
    public string? Text(string key) => (Entries.GetValueOrDefault(key) as SweepScalar)?.Text;

    /// <summary>The mapping under a key, or null.</summary>
    public SweepMapping? Mapping(string key) => Entries.GetValueOrDefault(key) as SweepMapping;

    /// <summary>The mappings of the list under a key; none when it does not stand.</summary>
    public IEnumerable<SweepMapping> Mappings(string key) => (Entries.GetValueOrDefault(key) as SweepList)?.Items.OfType<SweepMapping>() ?? [];

    /// <summary>The texts of the list under a key; none when it does not stand.</summary>
    public IEnumerable<string> Texts(string key) => (Entries.GetValueOrDefault(key) as SweepList)?.Items.OfType<SweepScalar>().Select(s => s.Text) ?? [];
}
