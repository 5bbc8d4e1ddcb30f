using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;
using EdgeFarm.Actors.Dispatch;
using EdgeFarm.Actors.Projections;
using EdgeFarm.Actors.Sweeps;
using EdgeFarm.Core.Fleet;
using Google.Protobuf;

namespace EdgeFarm.Actors.Serialization;

/// <summary>
/// Protobuf for every <see cref="IFarmMessage"/>. A manifest is for ever: it is never given to another type, and what it once
/// wrote is read by every later release (the committed goldens prove it).
/// </summary>
/// <param name="system">The actor system.</param>
public sealed class FarmSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    /// <summary>Above 100; lower ones are Akka's.</summary>
    public const int Id = 4711;

    private sealed record Codec(Type Type, string Manifest, Func<object, IMessage> Write, Func<byte[], object> Read);

    private static readonly Codec[] Codecs =
    [
        Make("sr", JournalMapping.Wire, Wire.SweepRecord.Parser, JournalMapping.ToCore),
        Make("ss", (SweepSaved m) => SnapshotMapping.Wire(m.Snapshot), Wire.SweepSnapshot.Parser, w => new SweepSaved(SnapshotMapping.ToCore(w))),
        Make("sx", MessageMapping.Wire, Wire.SweepExecute.Parser, MessageMapping.ToCore),
        Make("st",
            (SweepMessages.Started m) => new Wire.SweepStarted { Sweep = m.SweepId, Key = m.Key.Wire(), Worker = m.Worker, Device = m.Device.Wire() },
            Wire.SweepStarted.Parser,
            w => new SweepMessages.Started(w.Sweep, w.Key.ToCore(), w.Worker, w.Device.ToCore())),
        Make("sq",
            (SweepMessages.Requeued m) => new Wire.SweepRequeued { Sweep = m.SweepId, Job = m.JobId, Reason = m.Reason },
            Wire.SweepRequeued.Parser,
            w => new SweepMessages.Requeued(w.Sweep, w.Job, w.Reason)),
        Make("sp",
            (SweepMessages.Progressed m) => new Wire.SweepProgressed { Sweep = m.SweepId, Key = m.Key.Wire(), Fraction = m.Fraction, Text = m.Text },
            Wire.SweepProgressed.Parser,
            w => new SweepMessages.Progressed(w.Sweep, w.Key.ToCore(), w.Fraction, w.Text)),
        Make("sw", WriteWake, Wire.SweepWake.Parser, w => new SweepMessages.Wake(w.Sweep, w.Epoch, w.HasKnown ? w.Known : null)),
        Make("sg", (SweepMessages.Get m) => new Wire.SweepId { Sweep = m.SweepId }, Wire.SweepId.Parser, w => new SweepMessages.Get(w.Sweep)),
        Make("sn",
            (SweepMessages.GetSnapshot m) => new Wire.SweepGetSnapshot { Sweep = m.SweepId, Jobs = { m.Jobs } },
            Wire.SweepGetSnapshot.Parser,
            w => new SweepMessages.GetSnapshot(w.Sweep) { Jobs = [.. w.Jobs] }),
        Make("sv", WriteWatch, Wire.SweepWatch.Parser, w => new SweepMessages.Watch(w.Sweep, w.HasAfter ? w.After : null)),
        Make("se",
            (SweepMessages.Explain m) => new Wire.SweepExplain { Sweep = m.SweepId, Job = m.JobId },
            Wire.SweepExplain.Parser,
            w => new SweepMessages.Explain(w.Sweep, w.Job)),
        Make("sy",
            (SweepReply m) => new Wire.SweepReply { View = m.View?.Wire(), Failure = m.Failure?.Wire(), Affected = m.Affected },
            Wire.SweepReply.Parser,
            w => new SweepReply(w.View?.ToCore(), w.Failure?.ToCore(), w.Affected)),
        Make("sc", (SweepChanged m) => m.Change.Wire(), Wire.SweepChange.Parser, w => new SweepChanged(w.ToCore())),
        Make("sf", MessageMapping.Wire, Wire.JobExplained.Parser, MessageMapping.ToCore),
        Make("dx", MessageMapping.Wire, Wire.DispatchTell.Parser, MessageMapping.ToCore),
        Make("dl", MessageMapping.Wire, Wire.LinkTell.Parser, MessageMapping.ToCore),
        Make("pr", (Rebuild _) => new Wire.Empty(), Wire.Empty.Parser, _ => new Rebuild()),
        Make("ps", (RebuildStarted _) => new Wire.Empty(), Wire.Empty.Parser, _ => new RebuildStarted()),
        Make("df", (DispatchMessages.GetFleet _) => new Wire.Empty(), Wire.Empty.Parser, _ => DispatchMessages.GetFleet.Instance),
        Make("dg", (FleetReply m) => m.Fleet.Wire(), Wire.FleetView.Parser, w => new FleetReply(w.ToCore())),
        Make("dd",
            (DispatchMessages.GetDemand m) => m.Wire(),
            Wire.GetDemand.Parser,
            w => new DispatchMessages.GetDemand(w.Templates.Array(t => new WorkerTemplate(t.DeviceClass, t.Worker.ToCore())))),
        Make("dr", (DemandReply m) => m.Wire(), Wire.DemandReply.Parser, w => w.ToCore()),
        Make("de",
            (DispatchMessages.ExplainWait m) => new Wire.ExplainWait { Job = m.JobId },
            Wire.ExplainWait.Parser,
            w => new DispatchMessages.ExplainWait(w.Job)),
        Make("di", (WaitExplained m) => new Wire.WaitExplained { Wait = m.Wait?.Wire() }, Wire.WaitExplained.Parser, w => new WaitExplained(w.Wait?.ToCore())),
    ];

    private static readonly Dictionary<Type, Codec> ByType = Codecs.ToDictionary(c => c.Type);
    private static readonly Dictionary<string, Codec> ByManifest = Codecs.ToDictionary(c => c.Manifest, StringComparer.Ordinal);

    /// <inheritdoc/>
    public override int Identifier => Id;

    /// <summary>Manifest and type of everything that is written.</summary>
    internal static IEnumerable<(string Manifest, Type Type)> Manifests => Codecs.Select(c => (c.Manifest, c.Type));

    /// <inheritdoc/>
    public override string Manifest(object o) => Find(o).Manifest;

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj) => Find(obj).Write(obj).ToByteArray();

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest) => Read(bytes, manifest);

    /// <summary>Reads without an actor system.</summary>
    internal static object Read(byte[] bytes, string manifest) =>
        ByManifest.TryGetValue(manifest, out var codec)
            ? codec.Read(bytes)
            : throw new SerializationException($"manifest '{manifest}' is not known to this release; a later one wrote it");

    private static Codec Find(object o) =>
        ByType.TryGetValue(o.GetType(), out var codec)
            ? codec
            : throw new SerializationException($"{o.GetType()} is an IFarmMessage without a wire form");

    private static Codec Make<T, TWire>(string manifest, Func<T, TWire> write, MessageParser<TWire> parser, Func<TWire, T> read)
        where T : notnull
        where TWire : IMessage<TWire> =>
        new(typeof(T), manifest, o => write((T)o), bytes => read(parser.ParseFrom(bytes)));

    private static Wire.SweepWake WriteWake(SweepMessages.Wake m)
    {
        var wire = new Wire.SweepWake { Sweep = m.SweepId, Epoch = m.Epoch };
        if (m.Known is { } known)
        {
            wire.Known = known;
        }

        return wire;
    }

    private static Wire.SweepWatch WriteWatch(SweepMessages.Watch m)
    {
        var wire = new Wire.SweepWatch { Sweep = m.SweepId };
        if (m.After is { } after)
        {
            wire.After = after;
        }

        return wire;
    }
}
