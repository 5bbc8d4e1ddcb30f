namespace EdgeFarm.Simulation;

/// <summary>
/// SplitMix64: small, fast, the same on every run and machine, and splittable, so that one part of a simulation that draws once
/// more does not change what every other part draws.
/// </summary>
internal sealed class Rng(ulong seed)
{
    private ulong _state = seed;

    public ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>A stream of its own.</summary>
    public Rng Split() => new(Next());

    /// <summary>A whole number from low to high, both included.</summary>
    public int Int(int low, int high) => low + (int)(Next() % (ulong)(high - low + 1));

    public bool Chance(double probability) => (Next() >> 11) * (1.0 / (1UL << 53)) < probability;

    /// <summary>A time between the bounds, in milliseconds, short ones as likely as long ones of ten times the length.</summary>
    public TimeSpan Delay(double low, double high) =>
        TimeSpan.FromMilliseconds(low * Math.Pow(high / low, (Next() >> 11) * (1.0 / (1UL << 53))));

    public T Pick<T>(IReadOnlyList<T> items) => items[Int(0, items.Count - 1)];
}
