using System.Text;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Io;
using Google.Protobuf;

namespace EdgeFarm.ModelFormats.Tokenizers;

/// <summary>A piece of a SentencePiece model.</summary>
/// <param name="Text">The text, with U+2581 for spaces.</param>
/// <param name="Score">Higher merges first.</param>
/// <param name="Kind">What the piece is.</param>
public sealed record SentencePiece(string Text, float Score, TokenKind Kind);

/// <summary>
/// tokenizer.model of SentencePiece, read from its protobuf fields: pieces (1: text 1, score 2, type 3), trainer (2: model type 3)
/// and normalizer (3: add_dummy_prefix 3).
/// </summary>
public sealed class SentencePieceModel
{
    private const long MaxFile = 1 << 28;
    private const int MaxPieces = 1 << 24;

    private SentencePieceModel(IReadOnlyList<SentencePiece> pieces, bool addsSpacePrefix) => (Pieces, AddsSpacePrefix) = (pieces, addsSpacePrefix);

    /// <summary>The pieces by id.</summary>
    public IReadOnlyList<SentencePiece> Pieces { get; }

    /// <summary>Whether a space is put before the text (add_dummy_prefix).</summary>
    public bool AddsSpacePrefix { get; }

    /// <summary>Reads a BPE model. InvalidInput for a file that is not sound, Unsupported for unigram, word and character models.</summary>
    public static Outcome<SentencePieceModel> Read(string path)
    {
        try
        {
            return Parse(SmallFile.Read(path, MaxFile), path);
        }
        catch (FailureException e)
        {
            return e.Failure;
        }
    }

    internal static SentencePieceModel Parse(byte[] bytes, string name)
    {
        try
        {
            var input = new CodedInputStream(bytes);
            var pieces = new List<SentencePiece>();
            var modelType = 1;
            var addsSpacePrefix = true;
            while (input.ReadTag() is not 0 and var tag)
            {
                switch (tag)
                {
                    case (1 << 3) | 2 when pieces.Count < MaxPieces:
                        pieces.Add(ReadPiece(input.ReadBytes(), name, pieces.Count));
                        break;
                    case (2 << 3) | 2:
                        modelType = (int)(Varint(input.ReadBytes(), 3) ?? 1);
                        break;
                    case (3 << 3) | 2:
                        addsSpacePrefix = (Varint(input.ReadBytes(), 3) ?? 1) != 0;
                        break;
                    default:
                        input.SkipLastField();
                        break;
                }
            }

            if (pieces.Count == 0)
            {
                throw Error(name, "it holds no pieces; this is not a SentencePiece model");
            }

            return modelType == 2
                ? new SentencePieceModel(pieces, addsSpacePrefix)
                : throw new FailureException(Failure.Unsupported(
                    $"{name}: is a SentencePiece model of type {ModelTypeName(modelType)}; only BPE models are supported, because llama.cpp splits text differently with the others"));
        }
        catch (InvalidProtocolBufferException e)
        {
            throw Error(name, e.Message);
        }
    }

    private static SentencePiece ReadPiece(ByteString message, string name, int id)
    {
        var input = message.CreateCodedInput();
        var text = ByteString.Empty;
        var score = 0f;
        var kind = TokenKind.Normal;
        while (input.ReadTag() is not 0 and var tag)
        {
            switch (tag)
            {
                case (1 << 3) | 2: text = input.ReadBytes(); break;
                case (2 << 3) | 5: score = input.ReadFloat(); break;
                case 3 << 3: kind = (TokenKind)input.ReadEnum(); break;
                default: input.SkipLastField(); break;
            }
        }

        if (!Enum.IsDefined(kind) || !float.IsFinite(score))
        {
            throw Error(name, $"piece {id} has type {(int)kind} and score {score}");
        }

        try
        {
            return new SentencePiece(BoundedReader.StrictUtf8.GetString(text.Span), score, kind);
        }
        catch (DecoderFallbackException)
        {
            throw Error(name, $"piece {id} is not UTF-8");
        }
    }

    private static long? Varint(ByteString message, int field)
    {
        var input = message.CreateCodedInput();
        long? value = null;
        while (input.ReadTag() is not 0 and var tag)
        {
            if (tag == (uint)field << 3)
            {
                value = input.ReadInt64();
            }
            else
            {
                input.SkipLastField();
            }
        }

        return value;
    }

    private static string ModelTypeName(int type) => type switch
    {
        1 => "unigram",
        3 => "word",
        4 => "character",
        _ => type.ToString(System.Globalization.CultureInfo.InvariantCulture),
    };

    private static FailureException Error(string name, string reason) => new(Failure.InvalidInput($"{name}: not a sound SentencePiece model: {reason}"));
}
