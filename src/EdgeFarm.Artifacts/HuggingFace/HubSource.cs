using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>A model on the Hugging Face Hub: <c>hf:ORG/NAME[@REVISION]</c>.</summary>
/// <param name="Repository"><c>ORG/NAME</c>.</param>
/// <param name="Revision">A branch, tag or commit; <see cref="DefaultRevision"/> where none is given.</param>
public sealed partial record HubSource(string Repository, string Revision)
{
    /// <summary>What a source of the Hub begins with.</summary>
    public const string Scheme = "hf:";

    /// <summary>The branch that is meant when none is named.</summary>
    public const string DefaultRevision = "main";

    /// <summary>The repository's own name, without its owner.</summary>
    public string Name => Repository[(Repository.IndexOf('/', StringComparison.Ordinal) + 1)..];

    /// <summary>Whether a text is meant as a source of the Hub, sound or not.</summary>
    public static bool IsMeant(string text) => text.StartsWith(Scheme, StringComparison.Ordinal);

    /// <summary>Reads <c>hf:ORG/NAME[@REVISION]</c>.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out HubSource? source)
    {
        source = null;
        if (Pattern().Match(text) is not { Success: true } match || text.Contains("..", StringComparison.Ordinal))
        {
            return false;
        }

        source = new HubSource(match.Groups["repository"].Value, match.Groups["revision"] is { Success: true, Value: var revision } ? revision : DefaultRevision);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Scheme}{Repository}{(Revision == DefaultRevision ? "" : $"@{Revision}")}";

    [GeneratedRegex(@"\Ahf:(?<repository>[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95})(@(?<revision>[A-Za-z0-9][A-Za-z0-9._/-]{0,127}))?\z")]
    private static partial Regex Pattern();
}
