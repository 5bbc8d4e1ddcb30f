using System.Reflection;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace EdgeFarm.Contracts.Tests;

public sealed class DescriptorSetTests
{
    private static readonly string Committed = Path.Combine(
        typeof(DescriptorSetTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!,
        "src/EdgeFarm.Contracts/edgefarm/v1/descriptors.binpb");

    [Fact]
    public void Nothing_that_clients_rely_on_was_changed()
    {
        Assert.Equal([], DescriptorComparison.Incompatibilities(Read(), DescriptorSets.Current()));
    }

    [Fact]
    public void The_committed_set_is_current()
    {
        if (Environment.GetEnvironmentVariable("EDGEFARM_UPDATE") == "1" && DescriptorComparison.Incompatibilities(Read(), DescriptorSets.Current()).Count == 0)
        {
            System.IO.File.WriteAllBytes(Committed, DescriptorSets.Current().ToByteArray());
        }

        Assert.True(
            DescriptorSets.Current().Equals(Read()),
            "the protos have additions that the committed descriptor set lacks; run EDGEFARM_UPDATE=1 dotnet test tests/EdgeFarm.Contracts.Tests and commit it");
    }

    [Fact]
    public void Protos_import_nothing_but_google_and_each_other()
    {
        Assert.All(
            DescriptorSets.Files().SelectMany(f => f.Dependencies),
            d => Assert.True(d.Name.StartsWith("google/", StringComparison.Ordinal) || d.Package.StartsWith("edgefarm.", StringComparison.Ordinal), d.Name));
    }

    [Fact]
    public void Enums_start_at_unspecified()
    {
        var enums = DescriptorSets.Files().SelectMany(f => f.EnumTypes).ToArray();
        Assert.NotEmpty(enums);
        Assert.All(enums, e => Assert.EndsWith("_UNSPECIFIED", e.FindValueByNumber(0).Name, StringComparison.Ordinal));
    }

    public static TheoryData<string, Action<FileDescriptorSet>, string> Breaks => new()
    {
        { "removed field", s => Message(s, "Sweep").Field.RemoveAt(1), "field edgefarm.v1.Sweep.name = 2 was removed" },
        { "renumbered field", s => Field(s, "Sweep", "name").Number = 99, "field edgefarm.v1.Sweep.name was renumbered from 2 to 99" },
        { "renamed field", s => Field(s, "Sweep", "name").Name = "title", "field edgefarm.v1.Sweep.name = 2 was renamed to title" },
        { "retyped field", s => Field(s, "Job", "progress").Type = FieldDescriptorProto.Types.Type.Float, "field edgefarm.v1.Job.progress was retyped from Double to Float" },
        { "repeated field", s => Field(s, "Sweep", "name").Label = FieldDescriptorProto.Types.Label.Repeated, "field edgefarm.v1.Sweep.name changed between single, optional and repeated" },
        { "left its oneof", s => Field(s, "UploadRequest", "chunk").ClearOneofIndex(), "field edgefarm.v1.UploadRequest.chunk moved into or out of a oneof" },
        { "removed message", s => File(s, "jobs").MessageType.Remove(Message(s, "Lack")), "message edgefarm.v1.Lack was removed" },
        { "renumbered enum value", s => File(s, "sweeps").EnumType[0].Value[2].Number = 77, "enum value edgefarm.v1.SWEEP_STATUS_COMPLETED = 2 was removed, renamed or renumbered" },
        { "removed method", s => File(s, "sweeps").Service[0].Method.RemoveAt(0), "method edgefarm.v1.Sweeps/Submit was removed" },
        { "method streams no more", s => File(s, "sweeps").Service[0].Method.Single(m => m.Name == "Watch").ServerStreaming = false, "method edgefarm.v1.Sweeps/Watch changed its request, response or streaming" },
    };

    [Theory]
    [MemberData(nameof(Breaks))]
    public void Each_kind_of_incompatible_change_is_found(string what, Action<FileDescriptorSet> change, string expected)
    {
        var changed = DescriptorSets.Current();
        change(changed);

        Assert.True(DescriptorComparison.Incompatibilities(DescriptorSets.Current(), changed).Contains(expected), what);
    }

    [Fact]
    public void Additions_are_compatible()
    {
        var changed = DescriptorSets.Current();
        Message(changed, "Sweep").Field.Add(new FieldDescriptorProto { Name = "extra", Number = 500, Type = FieldDescriptorProto.Types.Type.String });
        File(changed, "jobs").MessageType.Add(new DescriptorProto { Name = "Extra" });

        Assert.Equal([], DescriptorComparison.Incompatibilities(DescriptorSets.Current(), changed));
    }

    private static FileDescriptorSet Read() => FileDescriptorSet.Parser.ParseFrom(System.IO.File.ReadAllBytes(Committed));

    private static FileDescriptorProto File(FileDescriptorSet set, string name) => set.File.Single(f => f.Name == $"edgefarm/v1/{name}.proto");

    private static DescriptorProto Message(FileDescriptorSet set, string name) => set.File.Where(f => f.Package == "edgefarm.v1").SelectMany(f => f.MessageType).Single(m => m.Name == name);

    private static FieldDescriptorProto Field(FileDescriptorSet set, string message, string field) => Message(set, message).Field.Single(f => f.Name == field);
}
