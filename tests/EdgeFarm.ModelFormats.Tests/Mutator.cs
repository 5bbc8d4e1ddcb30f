namespace EdgeFarm.ModelFormats.Tests;

/// <summary>Makes broken files from sound ones.</summary>
internal static class Mutator
{
    private static readonly ulong[] Interesting =
    [
        0, 1, 2, 7, 8, 31, 32, 33, 255, 256, 65535, 1UL << 31, (1UL << 31) - 1, uint.MaxValue, 1UL << 32, 1UL << 40, 1UL << 62, (1UL << 63) - 1, 1UL << 63, ulong.MaxValue - 7, ulong.MaxValue,
    ];

    /// <summary>One to four changes: bits, numbers, pieces left out, doubled or moved, the end cut off.</summary>
    public static byte[] Mutate(byte[] source, Random random)
    {
        var bytes = source.ToList();
        for (var n = random.Next(1, 5); n > 0 && bytes.Count > 0; n--)
        {
            var at = random.Next(bytes.Count);
            var length = Math.Min(random.Next(1, 32), bytes.Count - at);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    var number = BitConverter.GetBytes(Interesting[random.Next(Interesting.Length)]);
                    for (var i = 0; i < Math.Min(random.Next(2) == 0 ? 4 : 8, bytes.Count - at); i++)
                    {
                        bytes[at + i] = number[i];
                    }

                    break;
                case 3:
                    bytes.RemoveRange(at, length);
                    break;
                case 4:
                    bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, length));
                    break;
                default:
                    bytes.RemoveRange(at, bytes.Count - at);
                    break;
            }
        }

        return [.. bytes];
    }
}
