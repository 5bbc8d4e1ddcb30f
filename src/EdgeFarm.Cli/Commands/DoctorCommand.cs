using System.CommandLine;
using System.Text.Json.Nodes;
using EdgeFarm.Cli.Output;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Workers;

namespace EdgeFarm.Cli.Commands;

/// <summary><c>edgefarm doctor</c>: what this machine can do, what is missing, and how to get it.</summary>
internal static class DoctorCommand
{
    private static readonly Option<bool> Json = CommandParts.JsonOption();

    public static Command Create(Terminal terminal)
    {
        var command = new Command("doctor", "look at this machine: hardware, toolchains, what is missing and how to get it") { Json };
        command.SetAction((arguments, cancellation) => RunAsync(terminal, arguments.GetValue(Json), cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, bool json, CancellationToken cancellation)
    {
        var scratch = Directory.CreateTempSubdirectory("edgefarm-doctor-");
        try
        {
            var setup = await WorkerSetup.ProbeAsync(scratch.FullName, cancellation);
            if (!setup.IsOk)
            {
                terminal.Complain(setup.Failure!.Message);
                return ExitCodes.Failed;
            }

            var findings = setup.Value.Findings;
            if (json)
            {
                JsonDocuments.Write(terminal.Out, Document(findings));
            }
            else
            {
                Write(terminal.Out, findings);
            }

            return findings.Engines.Any(e => e.Probe is not null) ? ExitCodes.Done : ExitCodes.Failed;
        }
        finally
        {
            scratch.Delete(recursive: true);
        }
    }

    private static void Write(TextWriter write, WorkerFindings findings)
    {
        write.WriteLine($"host {findings.Host.HostId}");
        foreach (var (name, value) in findings.Host.Properties)
        {
            write.WriteLine($"  {name,-28} {Text(name, value)}");
        }

        foreach (var device in findings.Capability.Devices)
        {
            write.WriteLine($"device {device.Id} ({device.Kind}), {Figures.Bytes(device.MemoryBytes)}: {device.Fingerprint}");
        }

        foreach (var engine in findings.Engines)
        {
            write.WriteLine(engine.Probe is null ? $"MISSING {engine.Engine}: {engine.Failure?.Message}" : $"ok {UpCommand.Describe(findings).First(l => l.StartsWith(engine.Engine, StringComparison.Ordinal))}");
            foreach (var note in engine.Probe?.Notes ?? [])
            {
                write.WriteLine($"  note: {note}");
            }
        }

        foreach (var note in findings.Host.Notes)
        {
            write.WriteLine($"note: {note}");
        }
    }

    private static string Text(string name, PropertyValue value) =>
        value.Number is { } number && PropertyDefinition.Of(name).Unit == "bytes" ? Figures.Bytes(number) : value.ToString();

    private static JsonObject Document(WorkerFindings findings) => new()
    {
        ["host"] = findings.Host.HostId,
        ["properties"] = new JsonObject(findings.Host.Properties.Select(p => KeyValuePair.Create(p.Key, Value(p.Value)))),
        ["devices"] = new JsonArray([.. findings.Capability.Devices.Select(d => new JsonObject
        {
            ["id"] = d.Id,
            ["kind"] = d.Kind,
            ["memory_bytes"] = d.MemoryBytes,
            ["fingerprint"] = d.Fingerprint,
        })]),
        ["engines"] = new JsonArray([.. findings.Engines.Select(e => new JsonObject
        {
            ["id"] = e.Engine,
            ["usable"] = e.Probe is not null,
            ["version"] = (e.Probe?.Runtime?.Identity ?? e.Probe?.Toolchain?.Identity)?.Release,
            ["library_variant"] = e.Probe?.Runtime?.LibraryVariant,
            ["problem"] = e.Failure?.Message,
            ["notes"] = new JsonArray([.. (e.Probe?.Notes ?? []).Select(n => JsonValue.Create(n))]),
        })]),
        ["notes"] = new JsonArray([.. findings.Host.Notes.Select(n => JsonValue.Create(n))]),
    };

    private static JsonNode? Value(PropertyValue value) =>
        value.Number is { } number ? JsonValue.Create(number)
        : value.Items is { } items ? new JsonArray([.. items.Select(i => JsonValue.Create(i))])
        : JsonValue.Create(value.Text);
}
