using System.Collections.Immutable;

namespace EdgeFarm.Server.SweepFiles.Schema;

/// <summary>What a scalar may be.</summary>
internal enum ScalarKind
{
    /// <summary>Any text, number or boolean, taken as text.</summary>
    Text,

    /// <summary>An id: letters, digits, dots, dashes, underscores.</summary>
    Name,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>A finite number.</summary>
    Number,

    /// <summary>true or false.</summary>
    Boolean,

    /// <summary>Where a model or data set comes from.</summary>
    Source,

    /// <summary>One of <see cref="ScalarSchema.Choices"/>.</summary>
    Choice,

    /// <summary>The id of a model of the sweep.</summary>
    Model,

    /// <summary>The id of a data set of the sweep.</summary>
    DataSet,

    /// <summary>The id of a target of the sweep.</summary>
    Target,
}

/// <summary>What may stand at a place of a sweep file. Parser, JSON Schema and reference table all read this.</summary>
internal abstract record SchemaNode;

/// <summary>A scalar.</summary>
/// <param name="Kind">What it may be.</param>
internal sealed record ScalarSchema(ScalarKind Kind) : SchemaNode
{
    /// <summary>Accepted words: all there are for a choice, words beside the numbers otherwise (<c>auto</c>).</summary>
    public ImmutableArray<string> Choices { get; init; } = [];

    /// <summary>Choices match in any case, and the canonical spelling is taken.</summary>
    public bool IgnoreCase { get; init; }

    /// <summary>Least accepted number.</summary>
    public double Minimum { get; init; } = double.NegativeInfinity;

    /// <summary>Greatest accepted number.</summary>
    public double Maximum { get; init; } = double.PositiveInfinity;
}

/// <summary>A list.</summary>
/// <param name="Item">What its items are.</param>
internal sealed record ListSchema(SchemaNode Item) : SchemaNode
{
    /// <summary>One item may stand without the list around it.</summary>
    public bool SingleAllowed { get; init; }

    /// <summary>Least number of items.</summary>
    public int MinItems { get; init; } = 1;
}

/// <summary>A mapping with keys of the user's.</summary>
/// <param name="Value">What its values are.</param>
/// <param name="KeyName">What its keys are, for the reference.</param>
internal sealed record MapSchema(SchemaNode Value, string KeyName) : SchemaNode
{
    /// <summary>Keys that are known; others are accepted only when they are not near to one of these.</summary>
    public ImmutableArray<string> KnownKeys { get; init; } = [];
}

/// <summary>A mapping with known keys.</summary>
/// <param name="Fields">Its keys, in the order of the reference.</param>
internal sealed record ObjectSchema(ImmutableArray<FieldSchema> Fields) : SchemaNode
{
    /// <summary>The key whose value chooses among <see cref="Variants"/>, or null.</summary>
    public string? Discriminator { get; init; }

    /// <summary>Value of the discriminator to fields that replace and complete <see cref="Fields"/>.</summary>
    public ImmutableArray<KeyValuePair<string, ImmutableArray<FieldSchema>>> Variants { get; init; } = [];

    /// <summary>Exactly one of these keys must stand; empty for no such rule.</summary>
    public ImmutableArray<string> ExactlyOne { get; init; } = [];
}

/// <summary>One key of an <see cref="ObjectSchema"/>.</summary>
/// <param name="Name">The key.</param>
/// <param name="Node">What its value is.</param>
/// <param name="Description">One line for the reference.</param>
internal sealed record FieldSchema(string Name, SchemaNode Node, string Description)
{
    /// <summary>Must stand.</summary>
    public bool Required { get; init; }

    /// <summary>What holds when it does not stand, as the reference says it; null when there is nothing to say.</summary>
    public string? Default { get; init; }

    /// <summary>Kept for a later version: using it is an error that says so.</summary>
    public bool Reserved { get; init; }
}
