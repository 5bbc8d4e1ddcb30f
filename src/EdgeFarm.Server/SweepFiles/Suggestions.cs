namespace EdgeFarm.Server.SweepFiles;

/// <summary>Finds the word that was probably meant.</summary>
public static class Suggestions
{
    /// <summary>The accepted word nearest to a given one, ignoring case, or empty when none is near enough to be meant.</summary>
    public static string Nearest(string given, IEnumerable<string> accepted)
    {
        // A third of the letters may be wrong: more, and short words would suggest anything.
        var limit = Math.Max(1, given.Length / 3);
        var best = "";
        foreach (var word in accepted)
        {
            var distance = Distance(given.ToUpperInvariant(), word.ToUpperInvariant(), limit);
            if (distance <= limit)
            {
                (best, limit) = (word, distance - 1);
            }
        }

        return best;
    }

    /// <summary>Edits (insert, delete, replace, swap of neighbours) from one word to the other; more than the limit when above it.</summary>
    private static int Distance(string a, string b, int limit)
    {
        if (limit < 0 || Math.Abs(a.Length - b.Length) > limit)
        {
            return limit + 1;
        }

        var rows = new int[3][];
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = new int[b.Length + 1];
        }

        for (var j = 0; j <= b.Length; j++)
        {
            rows[0][j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            var (row, above, twoAbove) = (rows[i % 3], rows[(i - 1) % 3], rows[(i + 1) % 3]);
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                row[j] = Math.Min(replaced, Math.Min(above[j], row[j - 1]) + 1);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    row[j] = Math.Min(row[j], twoAbove[j - 2] + 1);
                }
            }
        }

        return rows[a.Length % 3][b.Length];
    }
}
