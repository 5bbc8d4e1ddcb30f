namespace EdgeFarm.Server.Hosting;

/// <summary>What the hosts of both cluster roles begin with.</summary>
internal static class RoleHost
{
    /// <summary>
    /// A builder whose log is one line an event on stderr, in UTC, because stdout is the verb's own; and whose host stops when its owner
    /// says so.
    /// </summary>
    public static WebApplicationBuilder CreateBuilder(LogLevel logLevel)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
        });
        builder.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.Logging.SetMinimumLevel(logLevel);
        builder.Services.AddSingleton<IHostLifetime, OwnedLifetime>();
        return builder;
    }
}
