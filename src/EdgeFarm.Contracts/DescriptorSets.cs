using EdgeFarm.Contracts.V1;
using Google.Protobuf.Reflection;

namespace EdgeFarm.Contracts;

/// <summary>The public protos as a descriptor set, for clients that have no generated code (<c>grpcurl -protoset</c>).</summary>
public static class DescriptorSets
{
    /// <summary>The public API, the worker link, and what they import, imports first.</summary>
    public static FileDescriptorSet Current()
    {
        var set = new FileDescriptorSet();
        var done = new HashSet<string>(StringComparer.Ordinal);
        foreach (var file in Files())
        {
            Add(file, set, done);
        }

        return set;
    }

    /// <summary>The files without their imports, in the order of their names.</summary>
    public static IEnumerable<FileDescriptor> Files() =>
        typeof(SweepsReflection).Assembly.GetTypes()
            .Where(t => t.Name.EndsWith("Reflection", StringComparison.Ordinal))
            .Select(t => t.GetProperty("Descriptor")?.GetValue(null))
            .OfType<FileDescriptor>()
            .Where(f => f.Package.StartsWith("edgefarm.", StringComparison.Ordinal))
            .OrderBy(f => f.Name, StringComparer.Ordinal);

    private static void Add(FileDescriptor file, FileDescriptorSet set, HashSet<string> done)
    {
        if (!done.Add(file.Name))
        {
            return;
        }

        foreach (var import in file.Dependencies)
        {
            Add(import, set, done);
        }

        set.File.Add(FileDescriptorProto.Parser.ParseFrom(file.SerializedData));
    }
}
