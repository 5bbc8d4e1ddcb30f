namespace EdgeFarm.Toolchains.Hosts;

/// <summary>What <c>threads: auto</c> means.</summary>
internal static class ThreadCount
{
    /// <summary>Physical cores that may be used, capped by the quota rounded down, at least 1.</summary>
    /// <param name="usableCores">Physical cores that the affinity reaches.</param>
    /// <param name="quota">Processors' worth of time that the cgroup grants; null without a limit.</param>
    public static int Auto(int usableCores, double? quota) =>
        Math.Max(1, quota is { } limit && limit < usableCores ? (int)Math.Floor(limit) : usableCores);
}
