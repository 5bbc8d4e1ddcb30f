using System.Runtime.InteropServices;
using System.Text;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>Unmanaged memory for the arguments of one call, freed together.</summary>
internal sealed unsafe class NativeArena : IDisposable
{
    private readonly List<nint> _blocks = [];

    /// <summary>Zeroed memory.</summary>
    public byte* Allocate(int bytes)
    {
        var block = NativeMemory.AllocZeroed((nuint)bytes);
        _blocks.Add((nint)block);
        return (byte*)block;
    }

    /// <summary>A C string.</summary>
    public byte* Text(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var block = Allocate(bytes.Length + 1);
        bytes.CopyTo(new Span<byte>(block, bytes.Length));
        return block;
    }

    /// <summary>A copy of an array.</summary>
    public T* Copy<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var block = (T*)Allocate(checked(values.Length * sizeof(T)));
        values.CopyTo(new Span<T>(block, values.Length));
        return block;
    }

    public void Dispose()
    {
        foreach (var block in _blocks)
        {
            NativeMemory.Free((void*)block);
        }

        _blocks.Clear();
    }
}
