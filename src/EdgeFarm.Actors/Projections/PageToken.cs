using System.Text;
using System.Text.Json;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Actors.Projections;

/// <summary>Where a list goes on, as an opaque word: the sort key of the last row, so that a page costs the same wherever it is.</summary>
internal static class PageToken
{
    public static string Write(params string[] key) => Convert.ToBase64String(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(key)));

    /// <summary>The parts of a token, or null for an empty one. Another list's token, or none at all, is InvalidInput.</summary>
    public static string[]? Read(string token, int parts)
    {
        if (token.Length == 0)
        {
            return null;
        }

        try
        {
            var key = token.Length > 2000 ? null : JsonSerializer.Deserialize<string[]>(Convert.FromBase64String(token));
            if (key?.Length == parts && !Array.Exists(key, k => k is null))
            {
                return key;
            }
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            // Reported below.
        }

        throw Invalid(token);
    }

    public static FailureException Invalid(string token) =>
        new(Failure.InvalidInput($"page_token '{token}' is not one that this list returned; leave it empty to start from the first page"));
}
