using System.Buffers;
using System.Globalization;
using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.JobHosts.Worker;

/// <summary>
/// The log of one attempt: the first and the last bytes of what a child printed and of what its engine logged, in order of arrival.
/// However much comes, it holds no more than its bound. Safe to call from several threads.
/// </summary>
internal sealed class BoundedLog
{
    private readonly Lock _lock = new();
    private readonly int _headLimit;
    private readonly ArrayBufferWriter<byte> _head = new();
    private readonly int _tailLimit;
    private byte[]? _tail;
    private long _tailWritten;
    private byte _last = (byte)'\n';

    /// <summary>A log of at most so many bytes: a quarter for the start, the rest for the end.</summary>
    public BoundedLog(int maxBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxBytes, 4);
        _headLimit = maxBytes / 4;
        _tailLimit = maxBytes - _headLimit;
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            AppendLocked(bytes);
        }
    }

    /// <summary>A line of text; it begins on a line of its own also where printed text stopped within one.</summary>
    public void AppendLine(string line)
    {
        lock (_lock)
        {
            if (_last != (byte)'\n')
            {
                AppendLocked("\n"u8);
            }

            AppendLocked(Encoding.UTF8.GetBytes(line + "\n"));
        }
    }

    /// <summary>All that was kept, with a line in the place of what was not.</summary>
    public byte[] ToArray()
    {
        lock (_lock)
        {
            var lost = _tailWritten - _tailLimit;
            var gap = lost > 0 ? Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"\n[... {lost} bytes left out ...]\n")) : [];
            return [.. _head.WrittenSpan, .. gap, .. TailBytes(_tailLimit)];
        }
    }

    /// <summary>The last lines, at most <see cref="Failure.MaxLogTail"/> characters, without control characters.</summary>
    public string LastLines()
    {
        lock (_lock)
        {
            var bytes = TailBytes(Failure.MaxLogTail);
            var missing = Failure.MaxLogTail - bytes.Length;
            if (missing > 0 && _tailWritten <= _tailLimit)
            {
                var fromHead = Math.Min(missing, _head.WrittenCount);
                bytes = [.. _head.WrittenSpan[^fromHead..], .. bytes];
            }

            var all = _head.WrittenCount + _tailWritten;
            var text = string.Concat(Encoding.UTF8.GetString(bytes).ReplaceLineEndings("\n").Select(c => char.IsControl(c) && c is not ('\n' or '\t') ? ' ' : c));
            text = text.Length <= Failure.MaxLogTail ? text : text[^Failure.MaxLogTail..];
            var firstLine = text.IndexOf('\n');
            return (all > bytes.Length && firstLine >= 0 && firstLine < text.Length - 1 ? text[(firstLine + 1)..] : text).TrimEnd('\n');
        }
    }

    private void AppendLocked(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return;
        }

        _last = bytes[^1];
        var room = Math.Min(_headLimit - _head.WrittenCount, bytes.Length);
        _head.Write(bytes[..room]);
        bytes = bytes[room..];
        if (bytes.IsEmpty)
        {
            return;
        }

        _tail ??= new byte[_tailLimit];
        var kept = bytes.Length > _tailLimit ? bytes[^_tailLimit..] : bytes;
        var at = (int)((_tailWritten + bytes.Length - kept.Length) % _tailLimit);
        var first = Math.Min(kept.Length, _tailLimit - at);
        kept[..first].CopyTo(_tail.AsSpan(at));
        kept[first..].CopyTo(_tail);
        _tailWritten += bytes.Length;
    }

    private byte[] TailBytes(int most)
    {
        if (_tail is null)
        {
            return [];
        }

        var count = (int)Math.Min(most, Math.Min(_tailWritten, _tailLimit));
        var start = (int)((_tailWritten - count) % _tailLimit);
        var first = Math.Min(count, _tailLimit - start);
        return [.. _tail.AsSpan(start, first), .. _tail.AsSpan(0, count - first)];
    }
}
