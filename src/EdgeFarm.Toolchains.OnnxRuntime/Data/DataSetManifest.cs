using System.Text.Json;
using System.Text.Json.Serialization;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>
/// <c>dataset.json</c> in a data set's directory: what its files are and what is done to them before a model sees them. Paths are relative
/// to the directory and stay in it.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(TextManifest), "text")]
[JsonDerivedType(typeof(ImagesManifest), "images")]
[JsonDerivedType(typeof(RetrievalManifest), "retrieval")]
[JsonDerivedType(typeof(RandomManifest), "random")]
public abstract record DataSetManifest
{
    /// <summary>Name of the file.</summary>
    public const string FileName = "dataset.json";

    private const long MaxFile = 1 << 20;

    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.General)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowOutOfOrderMetadataProperties = true,
        AllowDuplicateProperties = false,
    };

    /// <summary>Reads and checks the file.</summary>
    /// <exception cref="FailureException">InvalidInput: what is wrong with it.</exception>
    internal static DataSetManifest Load(string path)
    {
        if (new FileInfo(path).Length > MaxFile)
        {
            throw Invalid($"has more than {MaxFile} bytes");
        }

        DataSetManifest manifest;
        try
        {
            manifest = JsonSerializer.Deserialize<DataSetManifest>(File.ReadAllBytes(path), Options) ?? throw Invalid("is null");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw Invalid($"is wrong: {e.Message} Its kinds are text, images, retrieval, random");
        }

        return manifest.Problem() is { } problem ? throw Invalid(problem) : manifest;
    }

    /// <summary>What is wrong with the values; null where nothing is.</summary>
    private protected abstract string? Problem();

    private static FailureException Invalid(string what) => new(Failure.InvalidInput($"{FileName} {what}"));
}

/// <summary>Texts, one a line (.txt) or a JSON object with <c>text</c> a line (.jsonl), tokenized with WordPiece.</summary>
public sealed record TextManifest : DataSetManifest
{
    /// <summary>The file of texts.</summary>
    public required string Text { get; init; }

    /// <summary>tokenizer.json in the directory; without it the model's own.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>Most tokens of a text; without it tokenizer.json's limit.</summary>
    public int? MaxLength { get; init; }

    private protected override string? Problem() => Range(MaxLength);

    internal static string? Range(int? maxLength) => maxLength is < 8 or > 8192 ? $"has max_length {maxLength}; 8 to 8192 are possible" : null;
}

/// <summary>Pictures, with what is done to them.</summary>
public sealed record ImagesManifest : DataSetManifest
{
    /// <summary>Directory of the pictures; the data set's own by default.</summary>
    public string Images { get; init; } = ".";

    /// <summary>The model's input; by default its only one.</summary>
    public string Input { get; init; } = "";

    /// <summary>CSV of <c>file,label</c>; then only the files that it names are samples, in its order.</summary>
    public string? Labels { get; init; }

    /// <summary>What is done to each picture.</summary>
    public required ImagePreprocessing Preprocessing { get; init; }

    private protected override string? Problem()
    {
        var (how, channels) = (Preprocessing, Preprocessing.Channels == "gray" ? 1 : 3);
        return how.Size.Length != 2 || how.Size.Any(s => s is < 1 or > 8192) ? "needs preprocessing.size as [height, width], 1 to 8192 each"
            : how.Resize is not ("stretch" or "crop" or "letterbox") ? $"has preprocessing.resize '{how.Resize}'; stretch, crop and letterbox are possible"
            : how.Channels is not ("rgb" or "bgr" or "gray") ? $"has preprocessing.channels '{how.Channels}'; rgb, bgr and gray are possible"
            : how.Layout is not ("nchw" or "nhwc") ? $"has preprocessing.layout '{how.Layout}'; nchw and nhwc are possible"
            : how.Mean.Length != 1 && how.Mean.Length != channels ? $"has {how.Mean.Length} means for {channels} channels"
            : how.Std.Length != 1 && how.Std.Length != channels ? $"has {how.Std.Length} stds for {channels} channels"
            : how.Std.Any(s => s == 0) ? "has a std of 0"
            : null;
    }
}

/// <summary>Queries and passages for a sentence encoder; query i is answered by passage i unless <see cref="Relevant"/> says otherwise.</summary>
public sealed record RetrievalManifest : DataSetManifest
{
    /// <summary>Queries: .txt, .jsonl or .npz of the model's inputs.</summary>
    public required string Queries { get; init; }

    /// <summary>Passages, as the queries.</summary>
    public required string Passages { get; init; }

    /// <summary>CSV of <c>query,passage</c>, both counted from 0; a query may have several.</summary>
    public string? Relevant { get; init; }

    /// <summary>tokenizer.json in the directory; without it the model's own.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>Most tokens of a text; without it tokenizer.json's limit.</summary>
    public int? MaxLength { get; init; }

    private protected override string? Problem() => TextManifest.Range(MaxLength);
}

/// <summary>Random input, declared: what is made with it is marked as synthetic.</summary>
public sealed record RandomManifest : DataSetManifest
{
    /// <summary>How each input is drawn.</summary>
    public required Dictionary<string, RandomInput> Inputs { get; init; }

    /// <summary>Samples.</summary>
    public int Samples { get; init; } = 16;

    /// <summary>Seed.</summary>
    public int Seed { get; init; } = 1;

    private protected override string? Problem() => Samples is < 1 or > 100_000 ? $"has {Samples} samples; 1 to 100000 are possible"
        : Inputs.Count == 0 ? "declares no inputs"
        : Inputs.Select(i => i.Value.Shape.Any(d => d < 1) || i.Value.Shape.Aggregate(1.0, (a, d) => a * d) > 1 << 28 ? $"has shape [{string.Join(", ", i.Value.Shape)}] for '{i.Key}'"
            : i.Value.Type is not ("float32" or "int64") ? $"has type '{i.Value.Type}' for '{i.Key}'; float32 and int64 are possible"
            : i.Value.Distribution is not ("uniform" or "normal") ? $"has distribution '{i.Value.Distribution}' for '{i.Key}'; uniform and normal are possible"
            : i.Value.High < i.Value.Low || i.Value.Std < 0 ? $"has no range for '{i.Key}'" : null).FirstOrDefault(p => p is not null);
}
