using System.Collections.Immutable;
using System.Globalization;

namespace EdgeFarm.Core.Fleet;

/// <summary>One value of a property of a host or device: a text, a number, or a set of texts.</summary>
public sealed record PropertyValue
{
    private PropertyValue(string? text, double? number, ImmutableSortedSet<string>? set) => (Text, Number, Items) = (text, number, set);

    /// <summary>The text, when this is one.</summary>
    public string? Text { get; }

    /// <summary>The number, when this is one; its unit is part of the property's definition.</summary>
    public double? Number { get; }

    /// <summary>The members, when this is a set.</summary>
    public ImmutableSortedSet<string>? Items { get; }

    /// <summary>A text.</summary>
    public static PropertyValue Of(string text) => new(text, null, null);

    /// <summary>A number.</summary>
    public static PropertyValue Of(double number) => new(null, number, null);

    /// <summary>A set of texts, ordered ordinally.</summary>
    public static PropertyValue Of(IEnumerable<string> items) => new(null, null, items.ToImmutableSortedSet(StringComparer.Ordinal));

    /// <inheritdoc/>
    public bool Equals(PropertyValue? other) =>
        other is not null && Text == other.Text && Number.Equals(other.Number)
        && (Items is null ? other.Items is null : other.Items is not null && Items.SetEquals(other.Items));

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Text, Number, Items?.Count);

    /// <inheritdoc/>
    public override string ToString() =>
        Text ?? (Number is { } number ? number.ToString("R", CultureInfo.InvariantCulture) : string.Join(",", Items!));
}
