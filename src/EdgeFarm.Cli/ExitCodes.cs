namespace EdgeFarm.Cli;

/// <summary>Exit codes that scripts rely on.</summary>
internal static class ExitCodes
{
    public const int Done = 0;
    public const int Failed = 1;
    public const int BadInput = 2;
    public const int Unreachable = 3;
    public const int Partial = 4;
    public const int TimedOut = 7;
}
