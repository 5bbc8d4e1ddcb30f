using System.Collections.Concurrent;
using System.Runtime.Serialization;
using Akka.Actor;
using Akka.Serialization;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>
/// With <c>serialize-messages = on</c> every message is serialized, also those inside Akka.Persistence.Sql that hold delegates and
/// were never meant to be. This takes the place of the JSON default: Akka's own go through as they are, and a message of EdgeFarm
/// that is neither an IFarmMessage nor marked as local fails the test that sent it.
/// </summary>
public sealed class AkkaInternalsSerializer(ExtendedActorSystem system) : Serializer(system)
{
    private readonly ConcurrentDictionary<long, object> _passing = new();
    private long _next;

    public override int Identifier => 4712;

    public override bool IncludeManifest => false;

    public override byte[] ToBinary(object obj)
    {
        var type = obj.GetType();
        if (type.Namespace?.StartsWith("EdgeFarm", StringComparison.Ordinal) ?? true)
        {
            throw new SerializationException($"{type} crosses actors, but is neither an IFarmMessage nor marked as local");
        }

        var key = Interlocked.Increment(ref _next);
        _passing[key] = obj;
        return BitConverter.GetBytes(key);
    }

    public override object FromBinary(byte[] bytes, Type type) =>
        _passing.TryRemove(BitConverter.ToInt64(bytes), out var passed) ? passed : throw new SerializationException("read twice");
}
