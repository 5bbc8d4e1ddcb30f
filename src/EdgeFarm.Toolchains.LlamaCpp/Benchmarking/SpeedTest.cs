using System.Diagnostics;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Benchmarking;

internal enum SpeedTestKind
{
    Prompt,
    Generation,
}

/// <summary>One of llama-bench's two tests: a context of its own, a warm-up, and repetitions that each start with an empty cache.</summary>
internal sealed unsafe class SpeedTest
{
    private const int MostAutoRuns = 8, WarmupTokens = 16, Seed = 1;
    private const double Agreement = 0.05;

    private readonly LlamaLibrary _library;
    private readonly LlamaModel _model;
    private readonly LlamaContext _context;
    private readonly BenchmarkRequest _request;
    private readonly SpeedTestKind _kind;
    private readonly Random _random = new(Seed);
    private readonly int _vocabulary;
    private byte[]? _depthState;

    private SpeedTest(LlamaLibrary library, LlamaModel model, LlamaContext context, BenchmarkRequest request, SpeedTestKind kind)
    {
        (_library, _model, _context, _request, _kind) = (library, model, context, request, kind);
        _vocabulary = model.VocabSize;
    }

    public Warmup Warmup { get; private set; } = null!;

    public List<BenchmarkMetric> Metrics { get; } = [];

    /// <summary>The context as the library made it.</summary>
    public ContextReport Context { get; private set; } = null!;

    /// <summary>Standard deviation of the speeds over their mean.</summary>
    public double Scatter { get; private set; }

    private string Name => _kind == SpeedTestKind.Prompt ? "pp" : "tg";

    public static SpeedTest Run(
        LlamaLibrary library, LlamaLog log, LlamaModel model, ContextOptions options, BenchmarkRequest request, SpeedTestKind kind, LlamaHooks hooks)
    {
        var tokens = kind == SpeedTestKind.Prompt ? request.Prompt : request.Generation;
        using var context = new LlamaContext(library, log, model, options with { Ctx = tokens + request.Depth }, hooks.Cancellation);
        var test = new SpeedTest(library, model, context, request, kind);
        test.WarmUp(hooks);
        test.Measure(tokens, hooks);
        test.Context = context.Report(test.Name);
        return test;
    }

    private void WarmUp(LlamaHooks hooks)
    {
        var tokens = _kind == SpeedTestKind.Prompt ? _request.Prompt : Math.Min(_request.Generation, WarmupTokens);
        var total = Stopwatch.StartNew();
        var (runs, steady, last) = (0, false, 0.0);
        while (_request.Warmup is { } count ? runs < count : !steady && runs < MostAutoRuns && (runs == 0 || total.Elapsed.TotalSeconds < _request.WarmupSeconds))
        {
            hooks.Progress?.Invoke(new LlamaProgress(Name, 0, $"warm-up {runs + 1}"));
            _context.Clear(data: false);
            var seconds = Time(tokens).Total;

            // A run that fills the bound alone has warmed caches and clocks as much as several short ones.
            steady = (runs > 0 && Math.Abs(seconds - last) <= Agreement * Math.Max(seconds, last)) || seconds >= _request.WarmupSeconds / 2;
            last = seconds;
            runs++;
        }

        Warmup = new Warmup(Name, runs, total.Elapsed.TotalSeconds, steady || _request.Warmup is not null);
    }

    private void Measure(int tokens, LlamaHooks hooks)
    {
        var (speeds, firstTokens) = (new List<double>(), new List<double>());
        for (var repetition = 0; repetition < _request.Repetitions; repetition++)
        {
            hooks.Progress?.Invoke(new LlamaProgress(Name, (double)repetition / _request.Repetitions, $"repetition {repetition + 1}"));
            _context.Clear(data: false);
            FillDepth();
            var (total, first) = Time(tokens);
            speeds.Add(tokens / total);
            firstTokens.Add(first);
        }

        Metrics.Add(new BenchmarkMetric(Name, speeds));
        if (_kind == SpeedTestKind.Prompt)
        {
            Metrics.Add(new BenchmarkMetric("ttft", firstTokens));
        }

        var mean = speeds.Average();
        Scatter = speeds.Count > 1 ? Math.Sqrt(speeds.Sum(speed => (speed - mean) * (speed - mean)) / (speeds.Count - 1)) / mean : 0;
    }

    /// <summary>Seconds of the test, and until the first token of the answer is chosen.</summary>
    private (double Total, double FirstToken) Time(int tokens)
    {
        var watch = Stopwatch.StartNew();
        if (_kind == SpeedTestKind.Generation)
        {
            Generate(tokens);
            return (watch.Elapsed.TotalSeconds, 0);
        }

        Prompt(tokens);
        var total = watch.Elapsed.TotalSeconds;
        _ = Greedy();
        return (total, watch.Elapsed.TotalSeconds);
    }

    private void Prompt(int tokens)
    {
        var buffer = new int[Math.Min(tokens, _request.Batch)];
        for (var done = 0; done < tokens;)
        {
            var batch = buffer.AsSpan(0, Math.Min(tokens - done, buffer.Length));
            foreach (ref var token in batch)
            {
                token = _random.Next(_vocabulary);
            }

            if (done == 0 && _model.AddBos)
            {
                batch[0] = _model.Bos;
            }

            _context.Decode(batch);
            done += batch.Length;
        }

        _context.Synchronize();
    }

    private void Generate(int tokens)
    {
        var token = _model.AddBos ? _model.Bos : _random.Next(_vocabulary);
        for (var i = 0; i < tokens; i++)
        {
            _context.Decode(new Span<int>(ref token));
            _context.Synchronize();
            token = _random.Next(_vocabulary);
        }
    }

    private int Greedy()
    {
        var logits = new ReadOnlySpan<float>(_context.Logits(-1), _vocabulary);
        var best = 0;
        for (var i = 1; i < logits.Length; i++)
        {
            best = logits[i] > logits[best] ? i : best;
        }

        return best;
    }

    // The state at that depth is computed once and restored for later repetitions.
    private void FillDepth()
    {
        if (_request.Depth == 0)
        {
            return;
        }

        if (_depthState is { } state)
        {
            fixed (byte* data = state)
            {
                if (_library.Api.StateSeqSetData(_context.Handle, data, (nuint)state.Length, 0) != 0)
                {
                    return;
                }
            }

            _context.Clear(data: false);
        }

        Prompt(_request.Depth);
        _depthState = new byte[(int)_library.Api.StateSeqGetSize(_context.Handle, 0)];
        fixed (byte* data = _depthState)
        {
            _library.Api.StateSeqGetData(_context.Handle, data, (nuint)_depthState.Length, 0);
        }
    }
}
