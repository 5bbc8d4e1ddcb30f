using System.CommandLine;
using System.Data.Common;
using EdgeFarm.Actors.Hosting;
using EdgeFarm.Server.Hosting;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm rebuild</c>: the rows anew from the journal.</summary>
internal static class RebuildCommand
{
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(2);

    private static readonly Option<string?> Data = FarmStorage.DataOption();
    private static readonly Option<string?> Config = FarmStorage.ConfigOption();

    public static Command Create(Terminal terminal)
    {
        var command = new Command(
            "rebuild",
            "empty the rows (sweeps, jobs, leaderboard) and make them anew from the journal; a farm of one process must be stopped, a cluster may run and shows part of its rows meanwhile")
        {
            Data, Config,
        };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, ParseResult arguments, CancellationToken cancellation)
    {
        var storage = FarmStorage.Find(arguments.GetValue(Data), arguments.GetValue(Config));
        if (!storage.IsOk)
        {
            terminal.Complain(storage.Failure!.Message);
            return ExitCodes.BadInput;
        }

        DataDirectory? held = null;
        if (storage.Value.Directory is { } directory)
        {
            var opened = DataDirectory.Open(directory);
            if (!opened.IsOk)
            {
                terminal.Complain(opened.Failure!.Message);
                return ExitCodes.BadInput;
            }

            held = opened.Value;
        }

        using (held)
        {
            try
            {
                var events = await FarmMaintenance.RebuildAsync(storage.Value.Database, new Told(terminal), cancellation);
                terminal.Out.WriteLine($"the rows are made anew from the journal, up to event {events}");
                return ExitCodes.Done;
            }
            catch (DbException e)
            {
                terminal.Complain($"the database cannot be used: {e.Message}");
                return ExitCodes.Failed;
            }
        }
    }

    /// <summary>Tells at once and in order; <see cref="Progress{T}"/> would do neither.</summary>
    private sealed class Told(Terminal terminal) : IProgress<RebuildProgress>
    {
        private long _next;

        public void Report(RebuildProgress value)
        {
            if (Environment.TickCount64 >= _next)
            {
                _next = Environment.TickCount64 + (long)TellEvery.TotalMilliseconds;
                terminal.Error.WriteLine($"event {value.Done} of {value.Total}");
            }
        }
    }
}
