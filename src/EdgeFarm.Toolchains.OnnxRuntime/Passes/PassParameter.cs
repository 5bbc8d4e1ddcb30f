namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>What values a pass parameter takes.</summary>
public enum PassParameterKind
{
    /// <summary><c>true</c> or <c>false</c>.</summary>
    Boolean,

    /// <summary>A whole number within the bounds.</summary>
    Integer,

    /// <summary>A number within the bounds, with a point.</summary>
    Number,

    /// <summary>One of the choices.</summary>
    Choice,

    /// <summary>Names separated by commas; each one of the choices where there are any.</summary>
    Names,

    /// <summary>Free text.</summary>
    Text,
}

/// <summary>One parameter of a pass: enough to check a value, show help and expand a list.</summary>
/// <param name="Name">Olive's name for it.</param>
/// <param name="Kind">What values it takes.</param>
/// <param name="Default">Value where none is given, as text.</param>
/// <param name="Summary">One sentence for the user.</param>
public sealed record PassParameter(string Name, PassParameterKind Kind, string Default, string Summary)
{
    /// <summary>Accepted values; empty where any is.</summary>
    public IReadOnlyList<string> Choices { get; init; } = [];

    /// <summary>Other spellings of a choice (Olive's), mapped to it.</summary>
    public IReadOnlyDictionary<string, string> Aliases { get; init; } = new Dictionary<string, string>();

    /// <summary>Smallest accepted number.</summary>
    public double Minimum { get; init; } = double.NegativeInfinity;

    /// <summary>Largest accepted number.</summary>
    public double Maximum { get; init; } = double.PositiveInfinity;
}
