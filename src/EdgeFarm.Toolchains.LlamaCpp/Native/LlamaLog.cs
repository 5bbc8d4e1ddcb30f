using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;

namespace EdgeFarm.Toolchains.LlamaCpp.Native;

/// <summary>
/// The library's log during one operation: whole lines go to the operation's hook, and what explains a failure is kept. The library
/// has one log for the whole process, so one operation runs at a time (see <see cref="LlamaLibrary.Run{T}"/>).
/// </summary>
internal sealed unsafe class LlamaLog(Action<LlamaLogLevel, string>? sink)
{
    private const int KeptErrors = 6;

    private static volatile LlamaLog? s_current;

    private readonly Lock _lock = new();
    private readonly StringBuilder _line = new();
    private readonly StringBuilder _tail = new();
    private readonly Queue<string> _errors = new();
    private LlamaLogLevel _level = LlamaLogLevel.Info;

    /// <summary>Called with the unfinished line each time a fragment arrives: the library prints a tensor's name before it works on it.</summary>
    public Action<string>? Fragment { get; set; }

    /// <summary>Called with each whole line, before the hook.</summary>
    public Action<string>? Line { get; set; }

    /// <summary>The last lines, at most <see cref="Failure.MaxLogTail"/> characters.</summary>
    public string Tail
    {
        get
        {
            lock (_lock)
            {
                return _tail.ToString();
            }
        }
    }

    /// <summary>The last errors that the library reported, joined; empty when there were none.</summary>
    public string Errors
    {
        get
        {
            lock (_lock)
            {
                return string.Join("; ", _errors);
            }
        }
    }

    /// <summary>Makes this log receive what the library prints, until the next call. Null drops all.</summary>
    public static void Attach(LlamaApi api, LlamaLog? log)
    {
        s_current = log;
        api.LogSet(&Receive, null);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Receive(int level, byte* text, void* data)
    {
        try
        {
            s_current?.Add(level, LlamaApi.Text(text));
        }
        catch (Exception)
        {
            // An exception that left this callback would end the process; the log is not worth that.
        }
    }

    private void Add(int level, string text)
    {
        lock (_lock)
        {
            // Level 5 continues the line before it, level 0 has none of its own.
            if (level is >= 1 and <= 4)
            {
                _level = (LlamaLogLevel)level;
            }

            var start = 0;
            for (var end = text.IndexOf('\n'); end >= 0; end = text.IndexOf('\n', start))
            {
                _line.Append(text, start, end - start);
                Finish();
                start = end + 1;
            }

            if (start < text.Length)
            {
                _line.Append(text, start, text.Length - start);
                Fragment?.Invoke(_line.ToString());
            }
        }
    }

    private void Finish()
    {
        var line = _line.ToString();
        _line.Clear();
        if (line.Length == 0)
        {
            return;
        }

        _tail.Append(line).Append('\n');
        if (_tail.Length > Failure.MaxLogTail)
        {
            _tail.Remove(0, _tail.Length - Failure.MaxLogTail);
        }

        if (_level == LlamaLogLevel.Error)
        {
            _errors.Enqueue(line.Trim());
            if (_errors.Count > KeptErrors)
            {
                _errors.Dequeue();
            }
        }

        Line?.Invoke(line);
        sink?.Invoke(_level, line);
    }
}
