using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;
using Spectre.Console;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm workers</c>.</summary>
internal static class FleetCommands
{
    public static Command Workers(Terminal terminal) => ClientCommand.Create(terminal, "workers", "list the linked workers and the queue", [], async context =>
    {
        var workers = new List<Worker>();
        var request = new ListWorkersRequest { PageSize = 1000 };
        Queue queue;
        do
        {
            var page = await context.Farm.AwaitAsync(context.Farm.Fleet.ListWorkersAsync(request, cancellationToken: context.Cancellation));
            workers.AddRange(page.Workers);
            queue = page.Queue;
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);

        if (context.Json)
        {
            context.WriteDocument(new JsonObject { ["workers"] = JsonDocuments.Array(workers), ["queue"] = JsonDocuments.Of(queue) });
            return ExitCodes.Done;
        }

        var table = new Table().Border(TableBorder.None).AddColumns("WORKER", "HOST", "SYSTEM", "DEVICES", "TOOLCHAINS", "SLOTS", "RUNS");
        foreach (var worker in workers)
        {
            string[] cells =
            [
                worker.Name,
                worker.Host.Length > 12 ? worker.Host[..12] : worker.Host,
                $"{Text(worker, "os")}-{Text(worker, "arch")}, {Text(worker, "cpu.model")}",
                string.Join(", ", worker.Devices.Select(d => d.DeviceClass.Length > 0 ? $"{d.Id} ({d.DeviceClass})" : d.Id)),
                string.Join(", ", worker.Runtimes.Select(r => $"{r.Id} {r.Version}")),
                $"{worker.FreeSlots}/{worker.Slots}{(worker.Draining ? " draining" : "")}",
                string.Join(", ", worker.Held.Select(l => l.Exclusive ? $"{l.Job} (alone)" : l.Job)),
            ];
            table.AddRow(cells.Select(Markup.Escape).ToArray());
        }

        if (workers.Count == 0)
        {
            context.Terminal.Error.WriteLine("no worker is linked; 'edgefarm worker' on a machine adds it");
        }
        else
        {
            context.Terminal.OutConsole.Write(table);
        }

        context.Terminal.Out.WriteLine($"waiting: {Counts(queue.Waiting)}; running: {Counts(queue.Leased)}");
        return ExitCodes.Done;
    });

    private static string Text(Worker worker, string property) => worker.Properties.GetValueOrDefault(property)?.Text ?? "?";

    private static string Counts(IEnumerable<ClassCount> counts) =>
        string.Join(", ", counts.Where(c => c.Count > 0).Select(c => $"{c.Count} {c.DeviceClass}")) is { Length: > 0 } text ? text : "none";
}
