using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace EdgeFarm.Bench.Llama;

/// <summary>The reference tools, and this program as a child process: each measurement gets a process of its own on both sides.</summary>
internal sealed partial class Tools(string directory, int threads)
{
    private string Threads => threads.ToString(CultureInfo.InvariantCulture);

    public void Quantize(string input, string output, string type, string? imatrix)
    {
        // The matrix's path stands in the output, so the tool is given the name alone.
        string[] weights = imatrix is null ? [] : ["--imatrix", Path.GetFileName(imatrix)];
        Run("llama-quantize", [.. weights, input, output, type, Threads], imatrix is null ? null : Path.GetDirectoryName(imatrix));
    }

    public void Imatrix(string model, string text, string output) =>
        Run("llama-imatrix", ["-m", model, "-f", Path.GetFileName(text), "-o", output, "-t", Threads, "--no-ppl"], Path.GetDirectoryName(text));

    public (double Value, double Error) Perplexity(string model, string text, int chunks, string? logits)
    {
        string[] save = logits is null ? [] : ["--kl-divergence-base", logits];
        var output = Report(["-m", model, "-f", text, "--chunks", chunks.ToString(CultureInfo.InvariantCulture), "-t", Threads, .. save], output => FinalEstimate().IsMatch(output));
        var match = FinalEstimate().Match(output);
        return (Number(match.Groups[1]), Number(match.Groups[2]));
    }

    /// <summary>Figures of the report by their label.</summary>
    public Dictionary<string, double> Divergence(string model, string logits)
    {
        const int figures = 13;
        var output = Report(["-m", model, "--kl-divergence", "--kl-divergence-base", logits, "-t", Threads], output => ReportLine().Count(output) >= figures);
        return ReportLine().Matches(output).ToDictionary(match => Spaces().Replace(match.Groups[1].Value.Trim(), " "), match => Number(match.Groups[2]), StringComparer.Ordinal);
    }

    /// <summary>Tokens per second of one repetition of each test, after the tool's own warm-up.</summary>
    public (double Pp, double Tg) Bench(string model, int prompt, int generation)
    {
        var output = Run("llama-bench", ["-m", model, "-p", $"{prompt}", "-n", $"{generation}", "-r", "1", "-t", Threads, "-o", "json"]);
        using var document = JsonDocument.Parse(output);
        var rows = document.RootElement.EnumerateArray().ToDictionary(row => row.GetProperty("n_gen").GetInt32() > 0, row => row.GetProperty("avg_ts").GetDouble());
        return (rows[false], rows[true]);
    }

    /// <summary>The same by EdgeFarm's engine, in a child process of this program.</summary>
    public (double Pp, double Tg) OwnBench(string model, int prompt, int generation)
    {
        var output = Start(Environment.ProcessPath!, [typeof(Tools).Assembly.Location, "bench", model, $"{prompt}", $"{generation}", Threads], null);
        var values = output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(value => double.Parse(value, CultureInfo.InvariantCulture)).ToArray();
        return (values[0], values[1]);
    }

    // The tool prints from a thread of its own, and on a busy machine it ends, with exit code 0, before all is out.
    private string Report(IReadOnlyList<string> arguments, Func<string, bool> complete)
    {
        var output = "";
        for (var attempt = 0; attempt < 10; attempt++)
        {
            output = Run("llama-perplexity", arguments);
            if (complete(output))
            {
                return output;
            }
        }

        throw new InvalidOperationException($"no report in the output of llama-perplexity:\n{output}");
    }

    private string Run(string tool, IReadOnlyList<string> arguments, string? directoryOfRun = null) => Start(Path.Combine(directory, tool), arguments, directoryOfRun);

    // llama.cpp's tools print figures on stdout and stderr, depending on the tool.
    private static string Start(string file, IReadOnlyList<string> arguments, string? directory)
    {
        var start = new ProcessStartInfo(file, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = directory ?? "" };
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output.TrimStart().StartsWith('[') || file == Environment.ProcessPath ? output : output + errors.Result
            : throw new InvalidOperationException($"{Path.GetFileName(file)} {string.Join(" ", arguments)} ended with {process.ExitCode}:\n{output}{errors.Result}");
    }

    private static double Number(Group group) => double.Parse(group.Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)")]
    private static partial Regex FinalEstimate();

    [GeneratedRegex(@"^([^\n:]*(?:PPL|KLD|Δp|Same top p)[^\n:]*):\s+(-?[\d.]+)", RegexOptions.Multiline)]
    private static partial Regex ReportLine();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
