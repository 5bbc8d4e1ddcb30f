using Google.Protobuf;

namespace EdgeFarm.Server.Services;

/// <summary>Limits that keep every message below 1 MiB.</summary>
internal static class Paging
{
    private const int DefaultPageSize = 100;
    private const int MaxPageSize = 1000;

    /// <summary>Bytes of rows that a message may carry, with room left for what stands beside them.</summary>
    private const int MaxRowBytes = 768 * 1024;

    /// <summary>The page size to use, or INVALID_ARGUMENT.</summary>
    public static int Size(int asked) =>
        asked is >= 0 and <= MaxPageSize
            ? asked == 0 ? DefaultPageSize : asked
            : throw RpcErrors.Invalid("page_size", $"must be 1 to {MaxPageSize}, or 0 for {DefaultPageSize}; got {asked}");

    /// <summary>Rows in groups that fit into one message each; none gives one empty group.</summary>
    public static IEnumerable<List<T>> Split<T>(IEnumerable<T> rows)
        where T : IMessage
    {
        var group = new List<T>();
        var bytes = 0;
        foreach (var row in rows)
        {
            var size = row.CalculateSize() + 8;
            if (group.Count > 0 && bytes + size > MaxRowBytes)
            {
                yield return group;
                (group, bytes) = ([], 0);
            }

            group.Add(row);
            bytes += size;
        }

        yield return group;
    }

    /// <summary>
    /// A page whose rows fit into one message: asked for again with half the rows as long as they do not. One row always does.
    /// </summary>
    public static async Task<(List<T> Rows, string Next)> FitAsync<T>(int size, Func<int, Task<(IEnumerable<T> Rows, string Next)>> read)
        where T : IMessage
    {
        while (true)
        {
            var (rows, next) = await read(size);
            var list = rows.ToList();
            if (list.Count <= 1 || list.Sum(r => r.CalculateSize() + 8L) <= MaxRowBytes)
            {
                return (list, next);
            }

            size = Math.Max(1, list.Count / 2);
        }
    }
}
