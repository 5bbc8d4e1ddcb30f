using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Gguf;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Quantization;

/// <summary>
/// Quantizes GGUF models with llama.cpp: the bytes are llama-quantize's. The output gets its name only after it was read back, compared
/// with its source tensor by tensor and loaded.
/// </summary>
public static partial class LlamaQuantizer
{
    // Room for the metadata that quantization adds (importance matrix, quantization version).
    private const long MetadataGrowth = 2048;

    /// <summary>
    /// Tells what a quantization would give, without doing it. InvalidInput for a bad request or model, Unsupported for an architecture
    /// that the library does not know.
    /// </summary>
    public static Outcome<QuantizePlan> Plan(QuantizeRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Plan(library, log, new QuantizeArguments(request, library.Abi), request));
    }

    /// <summary>
    /// Quantizes. InvalidInput for a bad request or model, Unsupported for what the library cannot do with it, Internal for a full disk or
    /// an output that does not stand the proof. No file is left behind on failure. The library cannot be interrupted here: to cancel, end
    /// the process; the file that then remains ends in <c>.partial</c>.
    /// </summary>
    public static Outcome<QuantizeResult> Run(QuantizeRequest request, LlamaHooks? hooks = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return LlamaLibrary.Run(request.LibraryPath, hooks ?? LlamaHooks.None, (library, log) => Run(library, log, request, hooks ?? LlamaHooks.None));
    }

    private static QuantizeResult Run(LlamaLibrary library, LlamaLog log, QuantizeRequest request, LlamaHooks hooks)
    {
        var arguments = new QuantizeArguments(request, library.Abi);
        var output = CheckOutput(request);
        var plan = Plan(library, log, arguments, request);
        if (plan.MissingImatrix)
        {
            throw new FailureException(Failure.InvalidInput($"{arguments.Type.Name} of {request.Input} needs an importance matrix: give one (imatrix), or choose a type with more bits"));
        }

        CheckDisk(output, plan.OutputBytes);
        var partial = $"{output}.{Guid.NewGuid():N}.partial";
        try
        {
            var watch = Stopwatch.StartNew();
            if (plan.Unchanged)
            {
                File.Copy(request.Input, partial);
            }
            else
            {
                Quantize(library, log, arguments, request.Input, partial, hooks);
            }

            var seconds = watch.Elapsed.TotalSeconds;
            using (var stream = new FileStream(partial, FileMode.Open, FileAccess.ReadWrite))
            {
                stream.Flush(flushToDisk: true);
            }

            var tensors = QuantizeProof.Check(library, log, request.Input, arguments, plan, partial, hooks);
            File.Move(partial, output, overwrite: true);
            var bytes = new FileInfo(output).Length;
            var parameters = tensors.Sum(tensor => tensor.Elements);
            return new QuantizeResult(
                arguments.Type.Name, output, bytes, parameters, 8.0 * bytes / parameters, arguments.Type.PrecisionClass, plan.FallbackTensors, tensors, seconds, library.Info);
        }
        finally
        {
            File.Delete(partial);
        }
    }

    // Renaming would replace the model that was handed in, through a symbolic link too.
    private static string CheckOutput(QuantizeRequest request)
    {
        static string Real(string path) => File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? Path.GetFullPath(path);
        var output = Path.GetFullPath(request.Output);
        if (!Directory.Exists(Path.GetDirectoryName(output)))
        {
            throw new FailureException(Failure.InvalidInput($"the directory of {output} does not exist"));
        }

        return !File.Exists(output) || Real(request.Input) != Real(output)
            ? output
            : throw new FailureException(Failure.InvalidInput($"{request.Output} is the input itself; give the output another name"));
    }

    private static void CheckDisk(string output, long bytes)
    {
        var free = new DriveInfo(Path.GetDirectoryName(output)!).AvailableFreeSpace;
        if (free < bytes)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"the disk of {output} has {free:N0} bytes free, and the output will have {bytes:N0}; make room"));
        }
    }

    private static unsafe QuantizePlan Plan(LlamaLibrary library, LlamaLog log, QuantizeArguments arguments, QuantizeRequest request)
    {
        var types = new Dictionary<string, GgmlType>(StringComparer.Ordinal);
        var order = new List<string>();
        var missing = false;
        var fallback = 0;
        log.Line = line =>
        {
            if (PlanLine().Match(line) is { Success: true } match)
            {
                var name = match.Groups["name"].Value;
                var type = match.Groups["new"] is { Success: true } changed ? changed.Value : match.Groups["type"].Value;
                order.Add(name);
                types[name] = Enum.Parse<GgmlType>(type, ignoreCase: true);
            }

            missing |= line.Contains("will require an imatrix", StringComparison.Ordinal);
            fallback = FallbackLine().Match(line) is { Success: true } found ? int.Parse(found.Groups[1].Value, CultureInfo.InvariantCulture) : fallback;
        };
        Call(library, log, arguments, request.Input, request.Output, dryRun: true);
        log.Line = null;

        var sources = arguments.Expected.ToDictionary(StringComparer.Ordinal);
        if (types.Count != sources.Count || types.Keys.FirstOrDefault(name => !sources.ContainsKey(name)) is not null)
        {
            throw new FailureException(new Failure(FailureType.Internal, $"llama.cpp plans {types.Count} tensors for {request.Input}, of {sources.Count} expected"));
        }

        var tensors = order.Select(name => new QuantizedTensor(name, sources[name].Type, types[name], sources[name].Elements)).ToList();
        var bytes = arguments.Source.DataOffset + MetadataGrowth
            + order.Sum(name => ((GgmlTypes.TensorBytes(types[name], [.. sources[name].Shape]) ?? 0) + 31) & ~31L);
        return new QuantizePlan(arguments.Type.Name, bytes, 8.0 * bytes / tensors.Sum(tensor => tensor.Elements), missing, fallback, arguments.IsIdentity(tensors), tensors);
    }

    private static void Quantize(LlamaLibrary library, LlamaLog log, QuantizeArguments arguments, string input, string output, LlamaHooks hooks)
    {
        log.Fragment = line =>
        {
            if (ProgressLine().Match(line) is { Success: true } match)
            {
                var (index, count) = (int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture));
                hooks.Progress?.Invoke(new LlamaProgress("quantize", (index - 1.0) / count, match.Groups[3].Value));
            }
        };
        Call(library, log, arguments, input, output, dryRun: false);
        log.Fragment = null;
    }

    private static unsafe void Call(LlamaLibrary library, LlamaLog log, QuantizeArguments arguments, string input, string output, bool dryRun)
    {
        using var arena = new NativeArena();
        var parameters = arguments.Build(library, arena, dryRun);
        if (library.Api.ModelQuantize(arena.Text(input), arena.Text(output), &parameters) != 0)
        {
            throw new FailureException(FailureOf(input, output, arguments, log));
        }
    }

    private static Failure FailureOf(string input, string output, QuantizeArguments arguments, LlamaLog log)
    {
        var reason = log.Errors is { Length: > 0 } errors ? errors : "no reason was given";
        var message = $"llama.cpp cannot quantize {input} as {arguments.Type.Name}: {reason}";
        bool Says(string text) => reason.Contains(text, StringComparison.OrdinalIgnoreCase);
        return Says("basic_ios::clear") ? new Failure(FailureType.Internal, $"writing {output} failed: the disk is full or not writable ({reason})")
            : Says("requantizing from type") ? Failure.Unsupported($"{message}; the input is quantized already: start from F16, or allow requantizing")
            : Says("unknown model architecture") || Says("no tensor type fallback") ? Failure.Unsupported(message)
            : Says("bad_alloc") ? new Failure(FailureType.OutOfMemory, message)
            : Failure.InvalidInput(message);
    }

    // "[  28/ 111] blk.0.attn_k.weight     - [  256,   128,     1,     1], type =    f16, size =     0.06 MiB ->     0.03 MiB (q8_0)"
    [GeneratedRegex(@"^\[\s*\d+/\s*\d+\] (?<name>.+?)\s+- \[[\d, ]+\], type =\s*(?<type>\w+), size =\s*[\d.]+ MiB(?: ->\s*[\d.]+ MiB \((?<new>\w+)\))?$")]
    private static partial Regex PlanLine();

    [GeneratedRegex(@"^\[\s*(\d+)/\s*(\d+)\] (.+?)\s+- \[")]
    private static partial Regex ProgressLine();

    [GeneratedRegex(@"WARNING: (\d+) of \d+ tensor\(s\) required fallback")]
    private static partial Regex FallbackLine();
}
