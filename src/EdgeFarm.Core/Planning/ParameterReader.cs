using System.Collections.Immutable;
using System.Globalization;

namespace EdgeFarm.Core.Planning;

/// <summary>Checks parameter values against their descriptors and gives their canonical text.</summary>
internal static class ParameterReader
{
    /// <summary>The canonical text of a value, or null with the reason why it is not accepted.</summary>
    public static string? Read(ParameterDescriptor parameter, string value, IReadOnlySet<string> dataSets, out string problem)
    {
        problem = "";
        if (parameter.Choices.FirstOrDefault(c => c.Equals(value, StringComparison.OrdinalIgnoreCase)) is { } word)
        {
            return word;
        }

        switch (parameter.Type)
        {
            case ParameterType.Integer:
                if (long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole)
                    && whole >= parameter.Minimum && whole <= parameter.Maximum)
                {
                    return whole.ToString(CultureInfo.InvariantCulture);
                }

                problem = $"'{value}' is not a whole number{Bounds(parameter)}";
                return null;
            case ParameterType.Number:
                if (double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                    && double.IsFinite(number) && number >= parameter.Minimum && number <= parameter.Maximum)
                {
                    return number.ToString("R", CultureInfo.InvariantCulture);
                }

                problem = $"'{value}' is not a number{Bounds(parameter)}";
                return null;
            case ParameterType.Boolean:
                if (bool.TryParse(value, out var flag))
                {
                    return flag ? "true" : "false";
                }

                problem = $"'{value}' is neither true nor false";
                return null;
            case ParameterType.Choice:
                problem = $"'{value}' is none of {string.Join(", ", parameter.Choices)}";
                return null;
            case ParameterType.DataSet:
                if (dataSets.Contains(value))
                {
                    return value;
                }

                problem = $"the sweep has no data set '{value}'; it has {List(dataSets)}";
                return null;
            default:
                return value;
        }
    }

    /// <summary>The defaults of some parameters.</summary>
    public static ImmutableSortedDictionary<string, string>.Builder Defaults(ImmutableArray<ParameterDescriptor> parameters)
    {
        var values = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var parameter in parameters)
        {
            if (parameter.Default is { } value)
            {
                values[parameter.Name] = value;
            }
        }

        return values;
    }

    /// <summary>Words for an error: the members, or <c>none</c>.</summary>
    public static string List(IEnumerable<string> words) => string.Join(", ", words) is { Length: > 0 } text ? text : "none";

    private static string Bounds(ParameterDescriptor parameter) => (double.IsFinite(parameter.Minimum), double.IsFinite(parameter.Maximum)) switch
    {
        (true, true) => $" from {Text(parameter.Minimum)} to {Text(parameter.Maximum)}",
        (true, false) => $" of at least {Text(parameter.Minimum)}",
        (false, true) => $" of at most {Text(parameter.Maximum)}",
        _ => "",
    } + (parameter.Choices.IsEmpty ? "" : $", nor {string.Join(" or ", parameter.Choices)}");

    private static string Text(double bound) => bound.ToString("R", CultureInfo.InvariantCulture);
}
