using System.Globalization;
using System.Text;
using System.Text.Json;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.ModelFormats.Tokenizers;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>Queries and passages, and which of these answer which query.</summary>
/// <param name="Queries">Model inputs of the queries.</param>
/// <param name="Passages">Model inputs of the passages.</param>
/// <param name="Answers">Numbers of the passages that answer each query; none empty.</param>
public sealed record RetrievalSet(SampleSet Queries, SampleSet Passages, IReadOnlyList<IReadOnlySet<int>> Answers);

/// <summary>A data set as a model's inputs, whatever it was on disk. The formats are told in docs/toolchains.md.</summary>
/// <param name="Samples">Inputs.</param>
public sealed record DataSet(SampleSet Samples)
{
    private const long MaxTextFile = 256L << 20;
    private const int MaxTexts = 1_000_000;
    private static readonly string[] RetrievalExtensions = [".npz", ".jsonl", ".txt"];
    private const string TokenizerName = "tokenizer.json", LabelsName = "labels.csv";

    /// <summary>Class of each sample, where the data set declares them by itself.</summary>
    public long[]? Labels { get; init; }

    /// <summary>Queries and passages, where it is a retrieval task; <see cref="Samples"/> are the queries then.</summary>
    public RetrievalSet? Retrieval { get; init; }

    /// <summary>Whether it is declared random input, which every result made with it must say.</summary>
    public bool Synthetic { get; init; }

    /// <summary>The arrays, where they are in memory under names of their own (labels may be among them).</summary>
    public IReadOnlyDictionary<string, NpyArray>? Arrays { get; init; }

    /// <summary>Opens a file (.npz, .npy, .txt, .jsonl) or a directory.</summary>
    /// <param name="path">The file or directory.</param>
    /// <param name="modelDirectories">Where the model's tokenizer.json may lie, first choice first.</param>
    public static Outcome<DataSet> Open(string path, params IReadOnlyList<string> modelDirectories)
    {
        try
        {
            return Directory.Exists(path) ? OpenDirectory(path, modelDirectories) : OpenFile(path, null, null, modelDirectories);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"data set '{Path.GetFileName(path)}' cannot be read: {e.Message}");
        }
    }

    private static DataSet OpenFile(string path, string? tokenizer, int? maxLength, IReadOnlyList<string> directories)
    {
        if (IsNumPy(path))
        {
            var loaded = NpyFile.Load(path);
            var arrays = loaded.IsOk ? loaded.Value : throw new FailureException(loaded.Failure!);
            return new DataSet(new ArraySamples(arrays)) { Arrays = arrays };
        }

        var (texts, answers) = ReadTexts(path);
        var reader = Tokenizer(tokenizer, [Path.GetDirectoryName(path)!, .. directories], Path.GetFileName(path));
        var samples = Tokenize(reader, texts, maxLength);
        return answers is null ? new DataSet(samples)
            : new DataSet(samples) { Retrieval = new RetrievalSet(samples, Tokenize(reader, answers, maxLength), Pairs(texts.Count)) };
    }

    private static DataSet OpenDirectory(string root, IReadOnlyList<string> directories)
    {
        var name = Path.GetFileName(root);
        var manifestPath = Path.Combine(root, DataSetManifest.FileName);
        if (File.Exists(manifestPath))
        {
            return DataSetManifest.Load(manifestPath) switch
            {
                TextManifest text => OpenFile(Inside(root, text.Text), text.Tokenizer is null ? null : Inside(root, text.Tokenizer), text.MaxLength, [root, .. directories]),
                ImagesManifest images => Images(root, images),
                RetrievalManifest retrieval => Retrieve(root, retrieval, directories),
                RandomManifest random => new DataSet(new RandomSamples(random.Inputs, random.Samples, random.Seed)) { Synthetic = true },
                _ => throw new FailureException(Failure.InvalidInput($"{DataSetManifest.FileName} is of no known kind")),
            };
        }

        string? Named(string stem) => RetrievalExtensions.Select(e => stem + e).FirstOrDefault(f => File.Exists(Path.Combine(root, f)));
        if (Named("queries") is { } queries && Named("passages") is { } passages)
        {
            return Retrieve(root, new RetrievalManifest { Queries = queries, Passages = passages }, directories);
        }

        var labels = File.Exists(Path.Combine(root, LabelsName)) ? ReadLabels(root, root, LabelsName) : null;
        var files = labels?.Select(l => l.Path).ToList()
            ?? [.. Directory.EnumerateFiles(root).Where(f => Path.GetExtension(f) is ".npy" or ".npz").Order(StringComparer.Ordinal)];
        if (files.Count == 0)
        {
            throw new FailureException(Failure.InvalidInput(
                $"data set '{name}' has neither {DataSetManifest.FileName}, nor queries and passages, nor .npy or .npz files; pictures need a {DataSetManifest.FileName} that says how they are prepared"));
        }

        var samples = new TensorFileSamples(files);
        return labels is null ? new DataSet(samples)
            : samples.ShapeOf(samples.Names.First())[0] == labels.Count ? new DataSet(samples) { Labels = [.. labels.Select(l => l.Label)] }
            : throw new FailureException(Failure.InvalidInput($"data set '{name}' has {labels.Count} labels for {samples.ShapeOf(samples.Names.First())[0]} samples; a labelled file holds one sample"));
    }

    private static DataSet Images(string root, ImagesManifest manifest)
    {
        var directory = Inside(root, manifest.Images);
        var labels = manifest.Labels is null ? null : ReadLabels(root, directory, manifest.Labels);
        var paths = labels?.Select(l => l.Path).ToList() ?? [.. Directory.EnumerateFiles(directory)
            .Where(f => Path.GetExtension(f).ToLowerInvariant() is ".png" or ".jpg" or ".jpeg").Order(StringComparer.Ordinal)];
        return paths.Count == 0
            ? throw new FailureException(Failure.InvalidInput($"'{manifest.Images}' of the data set holds no .png, .jpg or .jpeg files"))
            : new DataSet(new ImageSamples(paths, manifest.Input, manifest.Preprocessing)) { Labels = labels?.Select(l => l.Label).ToArray() };
    }

    private static DataSet Retrieve(string root, RetrievalManifest manifest, IReadOnlyList<string> directories)
    {
        var tokenizer = manifest.Tokenizer is null ? null : Inside(root, manifest.Tokenizer);
        var (queries, passages) = (Side(manifest.Queries), Side(manifest.Passages));
        var (asked, given) = (Rows(queries), Rows(passages));
        IReadOnlyList<IReadOnlySet<int>> answers;
        if (manifest.Relevant is { } relevant)
        {
            var pairs = ReadCsv(Inside(root, relevant), 2).Select(r => (Query: Number(r[0], asked, relevant), Passage: Number(r[1], given, relevant))).ToLookup(r => r.Query, r => r.Passage);
            answers = Enumerable.Range(0, asked).Select(q => (IReadOnlySet<int>)pairs[q].ToHashSet()).ToList();
            if (answers.ToList().FindIndex(a => a.Count == 0) is >= 0 and var lonely)
            {
                throw new FailureException(Failure.InvalidInput($"'{relevant}' names no passage for query {lonely}"));
            }
        }
        else
        {
            answers = asked == given ? Pairs(asked)
                : throw new FailureException(Failure.InvalidInput($"the data set has {asked} queries and {given} passages; without 'relevant' query i is answered by passage i"));
        }

        return new DataSet(queries) { Retrieval = new RetrievalSet(queries, passages, answers) };

        SampleSet Side(string file) => OpenFile(Inside(root, file), tokenizer, manifest.MaxLength, [root, .. directories]).Samples;
    }

    private static int Rows(SampleSet set) => (int)set.ShapeOf(set.Names.First())[0];

    private static List<IReadOnlySet<int>> Pairs(int count) => Enumerable.Range(0, count).Select(i => (IReadOnlySet<int>)new HashSet<int> { i }).ToList();

    private static ArraySamples Tokenize(WordPieceTokenizer tokenizer, List<string> texts, int? maxLength)
    {
        var encoded = texts.ConvertAll(t => tokenizer.Encode(t, maxLength ?? tokenizer.MaxLength));
        var length = encoded.Max(e => e.Ids.Count);
        var (ids, mask, types) = (new long[texts.Count * length], new long[texts.Count * length], new long[texts.Count * length]);
        Array.Fill(ids, tokenizer.PadId);
        for (var row = 0; row < encoded.Count; row++)
        {
            for (var i = 0; i < encoded[row].Ids.Count; i++)
            {
                (ids[(row * length) + i], mask[(row * length) + i], types[(row * length) + i]) = (encoded[row].Ids[i], 1, encoded[row].TypeIds[i]);
            }
        }

        long[] shape = [texts.Count, length];
        NpyArray Of(long[] values) => NpyArray.Of(shape, values);
        // The second names are those of the first BERT exports.
        return new ArraySamples(new Dictionary<string, NpyArray>(StringComparer.Ordinal)
        {
            ["input_ids"] = Of(ids),
            ["attention_mask"] = Of(mask),
            ["token_type_ids"] = Of(types),
            ["input_mask"] = Of(mask),
            ["segment_ids"] = Of(types),
            ["position_ids"] = Of([.. Enumerable.Range(0, texts.Count).SelectMany(_ => Enumerable.Range(0, length).Select(i => (long)i))]),
        });
    }

    private static WordPieceTokenizer Tokenizer(string? own, IReadOnlyList<string> directories, string what)
    {
        var path = own ?? directories.Select(d => Path.Combine(d, TokenizerName)).FirstOrDefault(File.Exists)
            ?? throw new FailureException(Failure.InvalidInput($"the texts of '{what}' need the model's {TokenizerName}: put it beside the model (as a directory) or beside the texts"));
        var loaded = WordPieceTokenizer.Load(path);
        return loaded.IsOk ? loaded.Value : throw new FailureException(loaded.Failure!);
    }

    // Texts, and the passages that answer them where the lines are pairs.
    private static (List<string> Texts, List<string>? Answers) ReadTexts(string path)
    {
        var name = Path.GetFileName(path);
        var lines = Lines(path);
        if (lines.Count is 0 or > MaxTexts)
        {
            throw new FailureException(Failure.InvalidInput($"'{name}' has {lines.Count} lines of text; 1 to {MaxTexts} are read"));
        }

        if (!path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase))
        {
            return (lines, null);
        }

        var (texts, answers) = (new List<string>(), new List<string>());
        foreach (var (i, line) in lines.Index())
        {
            try
            {
                using var document = JsonDocument.Parse(line);
                string? Text(string key) => document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
                texts.Add(Text("text") ?? Text("query") ?? throw new FailureException(Failure.InvalidInput($"'{name}' line {i + 1} has neither \"text\" nor \"query\" and \"passage\"")));
                if (Text("passage") is { } passage)
                {
                    answers.Add(passage);
                }
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                throw new FailureException(Failure.InvalidInput($"'{name}' line {i + 1} is not sound JSON: {e.Message}"));
            }
        }

        return answers.Count == 0 ? (texts, null)
            : answers.Count == texts.Count ? (texts, answers)
            : throw new FailureException(Failure.InvalidInput($"'{name}' has a passage in {answers.Count} of {texts.Count} lines"));
    }

    private static List<string> Lines(string path)
    {
        if (new FileInfo(path).Length > MaxTextFile)
        {
            throw new FailureException(Failure.InvalidInput($"'{Path.GetFileName(path)}' has more than {MaxTextFile} bytes"));
        }

        try
        {
            return [.. File.ReadLines(path, new UTF8Encoding(false, throwOnInvalidBytes: true)).Select(l => l.Trim()).Where(l => l.Length > 0)];
        }
        catch (DecoderFallbackException)
        {
            throw new FailureException(Failure.InvalidInput($"'{Path.GetFileName(path)}' is neither NumPy data nor text in UTF-8"));
        }
    }

    private static List<(string Path, long Label)> ReadLabels(string root, string directory, string file) =>
        ReadCsv(Inside(root, file), 2).ConvertAll(row =>
        {
            var path = Inside(directory, row[0]);
            return File.Exists(path) ? (path, (long)Number(row[1], int.MaxValue, file)) : throw new FailureException(Failure.InvalidInput($"'{file}' names '{row[0]}', which the data set has not"));
        });

    // A first line whose last field is no number is the header.
    private static List<string[]> ReadCsv(string path, int fields)
    {
        var rows = Lines(path).ConvertAll(l => l.Split(',').Select(f => f.Trim().Trim('"')).ToArray());
        if (rows.Count > 0 && !long.TryParse(rows[0][^1], NumberStyles.None, CultureInfo.InvariantCulture, out _))
        {
            rows.RemoveAt(0);
        }

        return rows.Count == 0 || rows.FindIndex(r => r.Length != fields) is >= 0
            ? throw new FailureException(Failure.InvalidInput($"'{Path.GetFileName(path)}' must have {fields} fields in each line, and one line at least"))
            : rows;
    }

    private static int Number(string text, int below, string file) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value < below ? value
            : throw new FailureException(Failure.InvalidInput($"'{file}' has '{text}', which is no number from 0 to {below - 1}"));

    private static bool IsNumPy(string path)
    {
        using var stream = File.OpenRead(path);
        Span<byte> head = stackalloc byte[4];
        return stream.ReadAtLeast(head, 4, throwOnEndOfStream: false) == 4 && (head.StartsWith("PK"u8) || head.SequenceEqual((ReadOnlySpan<byte>)[0x93, (byte)'N', (byte)'U', (byte)'M']));
    }

    private static string Inside(string root, string relative)
    {
        var (full, top) = (Path.GetFullPath(Path.Combine(root, relative)), Path.GetFullPath(root));
        var info = new FileInfo(full);
        return Path.IsPathRooted(relative) || (full != top && !full.StartsWith(top.TrimEnd('/') + Path.DirectorySeparatorChar, StringComparison.Ordinal)) || info.LinkTarget is not null
            ? throw new FailureException(Failure.InvalidInput($"'{relative}' leads out of the data set"))
            : full;
    }
}
