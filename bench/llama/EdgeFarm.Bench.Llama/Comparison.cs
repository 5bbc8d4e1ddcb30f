using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;
using EdgeFarm.Toolchains.LlamaCpp.Imatrix;
using EdgeFarm.Toolchains.LlamaCpp.Quantization;

namespace EdgeFarm.Bench.Llama;

/// <summary>EdgeFarm's engine against the reference tools, back to back on the same file, threads and libraries.</summary>
internal sealed class Comparison(Tools tools, string model, string heldOut, string calibration, string folder, int threads)
{
    private int _differences;

    /// <summary>Runs the parts that were asked for, all when none was. 1 when something differs that must not.</summary>
    public int Run(int rounds, IReadOnlySet<string> parts)
    {
        var info = Value(LlamaProbe.Run());
        Console.WriteLine($"llama.cpp {info.Version} ({info.Commit}), variant {info.Variant}, {threads} thread(s), {Path.GetFileName(model)}");
        bool Asked(string part) => parts.Count == 0 || parts.Contains(part);
        if (Asked("bytes"))
        {
            Matrix();
            Bytes();
        }

        if (Asked("card"))
        {
            Card();
        }

        if (Asked("quality"))
        {
            Quality();
        }

        if (Asked("speed"))
        {
            Speed(rounds);
        }

        Console.WriteLine(_differences == 0 ? "\nno differences" : $"\n{_differences} DIFFERENCES");
        return _differences == 0 ? 0 : 1;
    }

    private string Temporary(string name) => Path.Combine(folder, name);

    private void Matrix()
    {
        Console.WriteLine("\n## importance matrix\n");
        tools.Imatrix(model, calibration, Temporary("theirs-imatrix.gguf"));
        Value(LlamaImatrix.Run(new ImatrixRequest(new EvaluationSettings(model) { Threads = threads }, calibration, Temporary("imatrix.gguf"))));
        Report("imatrix.gguf", Same(Temporary("theirs-imatrix.gguf"), Temporary("imatrix.gguf")));
    }

    private void Bytes()
    {
        Console.WriteLine("\n## quantized files\n");
        foreach (var type in LlamaQuantTypes.All)
        {
            foreach (var imatrix in type.NeedsImatrix ? [true] : (bool[])[false, true])
            {
                // The form that the model already is stays as it is here, where the tool writes the tensors in another order.
                if (type.Name == "F16")
                {
                    continue;
                }

                var matrix = imatrix ? Temporary("imatrix.gguf") : null;
                tools.Quantize(model, Temporary("theirs.gguf"), type.Name, matrix);
                Value(LlamaQuantizer.Run(new QuantizeRequest(model, Temporary("ours.gguf"), type.Name) { Imatrix = matrix, Threads = threads }));
                Report(imatrix ? $"{type.Name}+imatrix" : type.Name, Same(Temporary("theirs.gguf"), Temporary("ours.gguf")));
            }
        }
    }

    private void Quality()
    {
        Console.WriteLine("\n## perplexity and KL divergence, 20 chunks\n");
        var logits = Temporary("logits");
        var ours = Temporary("logits-ours");
        var theirs = tools.Perplexity(model, heldOut, 20, logits);
        var result = Value(LlamaPerplexity.Run(new PerplexityRequest(Settings(model), heldOut, ours)));
        Report($"perplexity {theirs.Value:F4} +/- {theirs.Error:F5}, ours {result.Perplexity:F4} +/- {result.StandardError:F5}", Digits(theirs.Value, result.Perplexity, 4) && Digits(theirs.Error, result.StandardError, 5));
        Report("logits file", Same(logits, ours));
        Divergences(logits);
    }

    // Every form of the model's card, with its matrix where the card has one; the file of logits is the tool's.
    private void Divergences(string logits)
    {
        foreach (var (name, type, matrix) in CardForms().Where(form => form.Type != "F16"))
        {
            var form = Value(LlamaQuantizer.Run(new QuantizeRequest(model, Temporary("form.gguf"), type) { Imatrix = matrix, Threads = threads })).Output;
            var report = tools.Divergence(form, logits);
            var own = Value(LlamaPerplexity.Compare(new DivergenceRequest(Settings(form), logits)));
            var pairs = new (string Label, double Own, int Digits)[]
            {
                ("Mean PPL(Q)", own.Perplexity.Value, 6),
                ("Mean PPL(base)", own.BaselinePerplexity.Value, 6),
                ("Mean PPL(Q)/PPL(base)", own.PerplexityRatio.Value, 6),
                ("Mean KLD", own.MeanDivergence.Value, 6),
                ("Maximum KLD", own.DivergencePercentiles[100], 6),
                ("99.9% KLD", own.DivergencePercentiles[99.9], 6),
                ("99.0% KLD", own.DivergencePercentiles[99], 6),
                ("95.0% KLD", own.DivergencePercentiles[95], 6),
                ("90.0% KLD", own.DivergencePercentiles[90], 6),
                ("Median KLD", own.DivergencePercentiles[50], 6),
                ("Mean Δp", 100 * own.MeanProbabilityChange.Value, 3),
                ("RMS Δp", 100 * own.RmsProbabilityChange.Value, 3),
                ("Same top p", 100 * own.SameTop.Value, 3),
            };
            foreach (var (label, value, digits) in pairs)
            {
                var figure = report[label].ToString($"F{digits}", CultureInfo.InvariantCulture);
                Report($"{name} {label} {figure}, ours {value.ToString($"F{digits}", CultureInfo.InvariantCulture)}", Digits(report[label], value, digits));
            }
        }
    }

    /// <summary>Sizes and digests of the card's forms, made with the card's own matrix.</summary>
    private void Card()
    {
        Console.WriteLine("\n## the model's card (reference.json beside the calibration text)\n");
        using var card = JsonDocument.Parse(File.ReadAllBytes(CardFile("reference.json")));
        foreach (var (name, type, matrix) in CardForms())
        {
            var expected = card.RootElement.GetProperty(name);
            var form = type == "F16" ? model
                : Value(LlamaQuantizer.Run(new QuantizeRequest(model, Temporary("form.gguf"), type) { Imatrix = matrix, Threads = threads })).Output;
            var bytes = File.ReadAllBytes(form);
            Report($"{name}: size {bytes.Length}", expected.GetProperty("bytes").GetInt64() == bytes.Length);
            Report($"{name}: tensor data", expected.GetProperty("tensor_data_sha256").GetString() == Hex(bytes.AsSpan((int)GgufReader.Read(form).Value.DataOffset)));
            Report($"{name}: whole file", expected.GetProperty("sha256").GetString() == Hex(bytes));
        }
    }

    private string CardFile(string name) => Path.Combine(Path.GetDirectoryName(calibration)!, name);

    private IReadOnlyList<(string Name, string Type, string? Matrix)> CardForms()
    {
        if (!File.Exists(CardFile("reference.json")) || !File.Exists(CardFile("imatrix.gguf")))
        {
            Console.WriteLine($"(no reference.json and imatrix.gguf beside {Path.GetFileName(calibration)}: three forms stand for the card's)");
            return [("Q8_0", "Q8_0", null), ("Q4_K_M", "Q4_K_M", null), ("Q2_K", "Q2_K", null)];
        }

        using var card = JsonDocument.Parse(File.ReadAllBytes(CardFile("reference.json")));
        return
        [
            .. card.RootElement.EnumerateObject()
                .Where(form => form.Value.ValueKind == JsonValueKind.Object && form.Value.TryGetProperty("tensor_data_sha256", out _))
                .Select(form => (form.Name, form.Name.Replace("+imatrix", "", StringComparison.Ordinal), form.Name.EndsWith("+imatrix", StringComparison.Ordinal) ? CardFile("imatrix.gguf") : null)),
        ];
    }

    private void Speed(int rounds)
    {
        Console.WriteLine($"\n## speed, {rounds} interleaved rounds, ours / llama-bench\n");
        Console.WriteLine("| form | test | llama-bench, tokens/s | ours, tokens/s | ratio of medians | ratios by round, mean +- stddev |");
        Console.WriteLine("| --- | --- | --- | --- | --- | --- |");
        foreach (var type in (string[])["F16", "Q8_0", "Q4_K_M"])
        {
            var form = Value(LlamaQuantizer.Run(new QuantizeRequest(model, Temporary("form.gguf"), type))).Output;
            var (theirs, ours) = (new List<(double Pp, double Tg)>(), new List<(double Pp, double Tg)>());
            for (var round = 0; round < rounds; round++)
            {
                // Who is first changes, so that a machine that grows slower favours neither.
                if (round % 2 == 0)
                {
                    theirs.Add(tools.Bench(form, 512, 128));
                    ours.Add(tools.OwnBench(form, 512, 128));
                }
                else
                {
                    ours.Add(tools.OwnBench(form, 512, 128));
                    theirs.Add(tools.Bench(form, 512, 128));
                }
            }

            Row(type, "pp512", [.. theirs.Select(sample => sample.Pp)], [.. ours.Select(sample => sample.Pp)]);
            Row(type, "tg128", [.. theirs.Select(sample => sample.Tg)], [.. ours.Select(sample => sample.Tg)]);
        }
    }

    private static void Row(string form, string test, IReadOnlyList<double> theirs, IReadOnlyList<double> ours)
    {
        static double Median(IReadOnlyList<double> values) => values.Order().ElementAt(values.Count / 2);
        var ratios = ours.Zip(theirs, (own, other) => own / other).ToList();
        var mean = ratios.Average();
        var deviation = Math.Sqrt(ratios.Sum(ratio => (ratio - mean) * (ratio - mean)) / Math.Max(1, ratios.Count - 1));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {form} | {test} | {Median(theirs):F0} ({theirs.Min():F0} to {theirs.Max():F0}) | {Median(ours):F0} ({ours.Min():F0} to {ours.Max():F0}) | {Median(ours) / Median(theirs):F3} | {mean:F3} +- {deviation:F3} |"));
    }

    private EvaluationSettings Settings(string path) => new(path) { Chunks = 20, Threads = threads };

    private void Report(string what, bool equal)
    {
        _differences += equal ? 0 : 1;
        Console.WriteLine($"- {what}: {(equal ? "equal" : "DIFFERENT")}");
    }

    // One unit of the last printed digit: sums are taken in another order.
    private static bool Digits(double printed, double value, int digits) => Math.Abs(printed - value) <= 1.5 * Math.Pow(10, -digits);

    private static string Hex(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static bool Same(string first, string second) => Digest(first).AsSpan().SequenceEqual(Digest(second));

    private static byte[] Digest(string path)
    {
        using var stream = File.OpenRead(path);
        return SHA256.HashData(stream);
    }

    private static T Value<T>(Outcome<T> outcome) => outcome.IsOk ? outcome.Value : throw new InvalidOperationException($"{outcome.Failure}\n{outcome.Failure!.LogTail}");
}
