using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.LlamaCpp;

/// <summary>Reads a job's parameters, which are canonical text. A missing one takes its default.</summary>
internal sealed class JobParameters(ImmutableSortedDictionary<string, string> values)
{
    public string? Text(string name) => values.TryGetValue(name, out var text) && text.Length > 0 ? text : null;

    public string Text(string name, string otherwise) => Text(name) ?? otherwise;

    public int Integer(string name, int otherwise) => Text(name) is not { } text ? otherwise
        : int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number
        : throw Invalid(name, text, "a whole number");

    /// <summary>A number, or null for <c>auto</c> and when it is missing.</summary>
    public int? IntegerOrAuto(string name) => Text(name) is null or "auto" ? null : Integer(name, 0);

    public bool Boolean(string name) => Text(name) switch
    {
        null or "false" => false,
        "true" => true,
        var text => throw Invalid(name, text, "true or false"),
    };

    /// <summary>llama.cpp's number of a flash attention mode.</summary>
    public int FlashAttention() => Text("flash_attn") switch
    {
        null or "auto" => -1,
        "off" => 0,
        "on" => 1,
        var text => throw Invalid("flash_attn", text, "auto, on or off"),
    };

    /// <summary>Whole numbers, separated by commas.</summary>
    public IReadOnlyList<int> Integers(string name) => Text(name) is not { } text ? [] :
    [
        .. text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(part =>
            int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw Invalid(name, text, "whole numbers, separated by commas")),
    ];

    /// <summary><c>left=right</c> pairs, separated by white space; a left side may hold commas and equals signs.</summary>
    public IReadOnlyList<(string Left, string Right)> Pairs(string name) => Text(name) is not { } text ? [] :
    [
        .. text.Split([' ', '\n', '\t'], StringSplitOptions.RemoveEmptyEntries).Select(part =>
            part.LastIndexOf('=') is > 0 and var at && at < part.Length - 1 ? (part[..at], part[(at + 1)..]) : throw Invalid(name, text, "pattern=type pairs, separated by spaces")),
    ];

    private static FailureException Invalid(string name, string text, string expected) =>
        new(Failure.InvalidInput($"the parameter {name} is \"{text}\"; it takes {expected}"));
}
