using Google.Protobuf.Reflection;

namespace EdgeFarm.Contracts.Tests;

/// <summary>Finds what a newer descriptor set breaks for clients that were built against an older one.</summary>
internal static class DescriptorComparison
{
    /// <summary>One line for each incompatible change; additions are none.</summary>
    public static IReadOnlyList<string> Incompatibilities(FileDescriptorSet older, FileDescriptorSet newer)
    {
        var problems = new List<string>();
        foreach (var file in older.File.Where(f => f.Package.StartsWith("edgefarm.", StringComparison.Ordinal)))
        {
            // A message may move to another file of its package: clients see names and numbers, not files.
            var after = newer.File.Where(f => f.Package == file.Package).ToArray();
            Messages(file.Package, file.MessageType, [.. after.SelectMany(f => f.MessageType)], problems);
            Enums(file.Package, file.EnumType, [.. after.SelectMany(f => f.EnumType)], problems);
            Services(file, [.. after.SelectMany(f => f.Service)], problems);
        }

        return problems;
    }

    private static void Messages(string scope, IEnumerable<DescriptorProto> older, DescriptorProto[] newer, List<string> problems)
    {
        foreach (var message in older)
        {
            var name = $"{scope}.{message.Name}";
            if (newer.FirstOrDefault(m => m.Name == message.Name) is not { } now)
            {
                problems.Add($"message {name} was removed");
                continue;
            }

            foreach (var field in message.Field)
            {
                Field($"{name}.{field.Name}", message, field, now, problems);
            }

            Messages(name, message.NestedType, [.. now.NestedType], problems);
            Enums(name, message.EnumType, [.. now.EnumType], problems);
        }
    }

    private static void Field(string name, DescriptorProto message, FieldDescriptorProto field, DescriptorProto now, List<string> problems)
    {
        if (now.Field.FirstOrDefault(f => f.Number == field.Number) is not { } other)
        {
            problems.Add(now.Field.FirstOrDefault(f => f.Name == field.Name) is { } moved
                ? $"field {name} was renumbered from {field.Number} to {moved.Number}"
                : $"field {name} = {field.Number} was removed");
            return;
        }

        if (other.Name != field.Name)
        {
            problems.Add($"field {name} = {field.Number} was renamed to {other.Name}");
        }

        if (other.Type != field.Type || other.TypeName != field.TypeName)
        {
            problems.Add($"field {name} was retyped from {Describe(field)} to {Describe(other)}");
        }

        if (other.Label != field.Label || other.Proto3Optional != field.Proto3Optional)
        {
            problems.Add($"field {name} changed between single, optional and repeated");
        }

        if (OneofName(message, field) != OneofName(now, other))
        {
            problems.Add($"field {name} moved into or out of a oneof");
        }
    }

    private static string Describe(FieldDescriptorProto field) => field.TypeName.Length > 0 ? field.TypeName.TrimStart('.') : field.Type.ToString();

    private static string OneofName(DescriptorProto message, FieldDescriptorProto field) =>
        field.HasOneofIndex && !field.Proto3Optional ? message.OneofDecl[field.OneofIndex].Name : "";

    private static void Enums(string scope, IEnumerable<EnumDescriptorProto> older, EnumDescriptorProto[] newer, List<string> problems)
    {
        foreach (var type in older)
        {
            var now = newer.FirstOrDefault(e => e.Name == type.Name);
            if (now is null)
            {
                problems.Add($"enum {scope}.{type.Name} was removed");
                continue;
            }

            problems.AddRange(type.Value
                .Where(v => now.Value.FirstOrDefault(n => n.Number == v.Number)?.Name != v.Name)
                .Select(v => $"enum value {scope}.{v.Name} = {v.Number} was removed, renamed or renumbered"));
        }
    }

    private static void Services(FileDescriptorProto file, ServiceDescriptorProto[] newer, List<string> problems)
    {
        foreach (var service in file.Service)
        {
            var now = newer.FirstOrDefault(s => s.Name == service.Name);
            foreach (var method in service.Method)
            {
                var other = now?.Method.FirstOrDefault(m => m.Name == method.Name);
                var name = $"{file.Package}.{service.Name}/{method.Name}";
                if (other is null)
                {
                    problems.Add($"method {name} was removed");
                }
                else if (other.InputType != method.InputType || other.OutputType != method.OutputType
                    || other.ClientStreaming != method.ClientStreaming || other.ServerStreaming != method.ServerStreaming)
                {
                    problems.Add($"method {name} changed its request, response or streaming");
                }
            }
        }
    }
}
