using System.Globalization;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Passes;

/// <summary>Checked values of all parameters of one pass, defaults filled in.</summary>
public sealed class PassArguments
{
    private readonly SortedDictionary<string, string> _values;

    private PassArguments(SortedDictionary<string, string> values) => _values = values;

    /// <summary>All values in canonical spelling, by name: part of what a result is cached under.</summary>
    public IReadOnlyDictionary<string, string> Values => _values;

    /// <summary>Checks given values against a pass's parameters. InvalidInput names the key, what was wrong, and what is accepted.</summary>
    public static Outcome<PassArguments> Parse(string pass, IReadOnlyList<PassParameter> parameters, IReadOnlyDictionary<string, string> given)
    {
        var values = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var key in given.Keys)
        {
            if (parameters.All(p => p.Name != key))
            {
                return Failure.InvalidInput($"{pass} has no parameter '{key}'; it takes {string.Join(", ", parameters.Select(p => p.Name).Order(StringComparer.Ordinal))}");
            }
        }

        foreach (var parameter in parameters)
        {
            var text = given.TryGetValue(parameter.Name, out var own) ? own.Trim() : parameter.Default;
            if (Canonical(parameter, text) is not { } value)
            {
                return Failure.InvalidInput($"{pass}: {parameter.Name} '{text}' is not accepted; it takes {Accepted(parameter)}");
            }

            values[parameter.Name] = value;
        }

        return new PassArguments(values);
    }

    /// <summary>A flag.</summary>
    public bool Flag(string name) => _values[name] == "true";

    /// <summary>A whole number.</summary>
    public int Integer(string name) => int.Parse(_values[name], CultureInfo.InvariantCulture);

    /// <summary>A number.</summary>
    public double Number(string name) => double.Parse(_values[name], CultureInfo.InvariantCulture);

    /// <summary>A choice or free text.</summary>
    public string Text(string name) => _values[name];

    /// <summary>A list of names.</summary>
    public IReadOnlyList<string> Names(string name) =>
        _values[name].Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static string? Canonical(PassParameter parameter, string text)
    {
        switch (parameter.Kind)
        {
            case PassParameterKind.Boolean:
                return bool.TryParse(text, out var flag) ? (flag ? "true" : "false") : null;
            case PassParameterKind.Integer:
                return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer)
                    && integer >= parameter.Minimum && integer <= parameter.Maximum
                    && (parameter.Choices.Count == 0 || parameter.Choices.Contains(text))
                    ? integer.ToString(CultureInfo.InvariantCulture)
                    : null;
            case PassParameterKind.Number:
                return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                    && number >= parameter.Minimum && number <= parameter.Maximum
                    ? number.ToString("R", CultureInfo.InvariantCulture)
                    : null;
            case PassParameterKind.Choice:
                return Choice(parameter, text);
            case PassParameterKind.Names:
                var names = text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
                var chosen = parameter.Choices.Count == 0 ? names : names.Select(n => Choice(parameter, n)!).ToArray();
                return chosen.Contains(null) ? null : string.Join(',', chosen.Distinct());
            default:
                return text;
        }
    }

    private static string? Choice(PassParameter parameter, string text)
    {
        var aliased = parameter.Aliases.TryGetValue(text, out var canonical) ? canonical : text;
        return parameter.Choices.FirstOrDefault(c => c.Equals(aliased, StringComparison.OrdinalIgnoreCase));
    }

    private static string Accepted(PassParameter parameter) => parameter.Kind switch
    {
        PassParameterKind.Boolean => "true or false",
        PassParameterKind.Integer or PassParameterKind.Number when parameter.Choices.Count == 0 =>
            string.Create(CultureInfo.InvariantCulture, $"a{(parameter.Kind == PassParameterKind.Integer ? " whole" : "")} number from {parameter.Minimum} to {parameter.Maximum}"),
        PassParameterKind.Names => $"a list of {string.Join(", ", parameter.Choices)}",
        _ => $"one of {string.Join(", ", parameter.Choices)}",
    };
}
