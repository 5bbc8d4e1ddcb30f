namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>Names that a graph may read: its own, and those of the graphs around it.</summary>
/// <param name="outer">Scope of the graph around this one; null for the outermost.</param>
internal sealed class NameScope(NameScope? outer)
{
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <summary>Takes a name; false where this graph has it already.</summary>
    public bool Add(string name) => _names.Add(name);

    /// <summary>Whether this graph or one around it has the name.</summary>
    public bool Contains(string name)
    {
        for (var scope = this; scope is not null; scope = scope.Outer)
        {
            if (scope._names.Contains(name))
            {
                return true;
            }
        }

        return false;
    }

    private NameScope? Outer { get; } = outer;
}
