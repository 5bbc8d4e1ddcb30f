using System.Reflection;
using Akka.Actor;
using EdgeFarm.Actors.Serialization;
using EdgeFarm.Core.Dispatch;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Tests.Serialization;

public sealed class SerializerTests : IDisposable
{
    private readonly ActorSystem _system = ActorSystem.Create("serializer");
    private readonly FarmSerializer _serializer;

    public SerializerTests() => _serializer = new FarmSerializer((ExtendedActorSystem)_system);

    public static TheoryData<string> Names => [.. Samples.All().Select(s => s.Name)];

    public void Dispose() => _system.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void What_is_written_is_read_back_whole(string name)
    {
        var message = Sample(name);
        var bytes = _serializer.ToBinary(message);
        var read = _serializer.FromBinary(bytes, _serializer.Manifest(message));
        Assert.Equal(message.GetType(), read.GetType());
        Assert.Equal(Describe(message), Describe(read));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Bytes_of_earlier_releases_are_read_with_their_meaning(string name)
    {
        using var golden = Assembly.GetExecutingAssembly().GetManifestResourceStream($"golden/{name}");
        Assert.True(
            golden is not null,
            $"no golden bytes for {name}; set EDGEFARM_WRITE_GOLDENS to the folder Serialization/Goldens and run Missing_goldens_are_written once");
        using var bytes = new MemoryStream();
        golden.CopyTo(bytes);
        var message = Sample(name);
        Assert.Equal(Describe(message), Describe(_serializer.FromBinary(bytes.ToArray(), _serializer.Manifest(message))));
    }

    [SkippableFact]
    public void Missing_goldens_are_written()
    {
        var folder = Environment.GetEnvironmentVariable("EDGEFARM_WRITE_GOLDENS");
        Skip.If(folder is null, "only on request: EDGEFARM_WRITE_GOLDENS names the folder; existing files are never replaced");
        foreach (var (name, message) in Samples.All())
        {
            var path = Path.Combine(folder, name + ".bin");
            if (!File.Exists(path))
            {
                File.WriteAllBytes(path, _serializer.ToBinary(message));
            }

            Assert.True(File.Exists(path));
        }
    }

    [Fact]
    public void Every_message_has_a_manifest_and_a_sample()
    {
        var messages = typeof(IFarmMessage).Assembly.GetTypes().Where(t => t is { IsAbstract: false } && t.IsAssignableTo(typeof(IFarmMessage))).ToHashSet();
        Assert.Equal(messages, FarmSerializer.Manifests.Select(m => m.Type).ToHashSet());
        Assert.Equal(messages, Samples.All().Select(s => s.Message.GetType()).ToHashSet());
    }

    [Theory]
    [InlineData(typeof(SweepEvent), "Event")]
    [InlineData(typeof(SweepCommand), "Command")]
    [InlineData(typeof(DispatchInput), "Input")]
    public void Every_case_that_a_message_carries_has_a_sample(Type carried, string property)
    {
        var sampled = Samples.All().Select(s => s.Message.GetType().GetProperty(property)?.GetValue(s.Message)?.GetType()).OfType<Type>().ToHashSet();
        var cases = carried.GetNestedTypes().Where(t => t.IsAssignableTo(carried) && t != typeof(DispatchInput.Tick));
        Assert.All(cases, c => Assert.Contains(c, sampled));
    }

    [Fact]
    public void An_unknown_manifest_is_an_error() =>
        Assert.Throws<System.Runtime.Serialization.SerializationException>(() => _serializer.FromBinary([], "zz"));

    [Fact]
    public void An_event_that_this_release_does_not_know_is_an_error()
    {
        // A record with no body: what an event of a later release looks like to this one.
        var bytes = Google.Protobuf.MessageExtensions.ToByteArray(new EdgeFarm.Actors.Serialization.Wire.SweepRecord { Sweep = "s-1" });
        Assert.Throws<InvalidOperationException>(() => _serializer.FromBinary(bytes, "sr"));
    }

    private static IFarmMessage Sample(string name) => Samples.All().Single(s => s.Name == name).Message;

    // Collections compare by reference, so messages are compared as documents, dates in ticks.
    private static string Describe(object message) => Projections.Documents.Describe(message);
}
