namespace EdgeFarm.Server.SweepFiles.Yaml;

/// <summary>A node of a YAML document with its place.</summary>
/// <param name="Position">Where it starts.</param>
internal abstract record YamlNode(SweepFilePosition Position)
{
    /// <summary>What it is, for messages.</summary>
    public abstract string Kind { get; }
}

/// <summary>A text, number, boolean or nothing.</summary>
/// <param name="Position">Where it starts.</param>
/// <param name="Text">Its text, quotes resolved.</param>
/// <param name="IsPlain">Written without quotes, so that it may be a number, a boolean or nothing.</param>
internal sealed record YamlScalar(SweepFilePosition Position, string Text, bool IsPlain) : YamlNode(Position)
{
    /// <inheritdoc/>
    public override string Kind => IsNull ? "nothing" : Text.Length <= 60 ? $"'{Text}'" : $"a text of {Text.Length} characters";

    /// <summary>Whether it stands for nothing.</summary>
    public bool IsNull => IsPlain && Text is "" or "~" or "null" or "Null" or "NULL";
}

/// <summary>A list.</summary>
/// <param name="Position">Where it starts.</param>
/// <param name="Items">Its items.</param>
internal sealed record YamlList(SweepFilePosition Position, IReadOnlyList<YamlNode> Items) : YamlNode(Position)
{
    /// <inheritdoc/>
    public override string Kind => "a list";
}

/// <summary>A mapping; no key stands in it twice.</summary>
/// <param name="Position">Where it starts.</param>
/// <param name="Entries">Keys and values in the file's order.</param>
internal sealed record YamlMapping(SweepFilePosition Position, IReadOnlyList<KeyValuePair<YamlScalar, YamlNode>> Entries) : YamlNode(Position)
{
    /// <inheritdoc/>
    public override string Kind => "a mapping";

    /// <summary>The value of a key, or null.</summary>
    public YamlNode? Find(string key) => Entries.FirstOrDefault(e => e.Key.Text == key).Value;
}
