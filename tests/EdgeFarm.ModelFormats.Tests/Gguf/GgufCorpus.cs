using System.Text;
using EdgeFarm.ModelFormats.Gguf;

namespace EdgeFarm.ModelFormats.Tests.Gguf;

/// <summary>
/// Hostile GGUF files of our own making, one or more for each published weakness of GGUF readers that public descriptions tell apart
/// (CVE-2024-21802, -23496, -23605; CVE-2025-49847, -53630; CVE-2026-27940, -33298, -43629, -7482; llama.cpp issues 24888, 25258, 25475,
/// 25508, 25821, 25969, 26318, 26366, 26978, 27188), and for their neighbours. The files are committed under Data/GgufCorpus; a test keeps them equal to what this class makes.
/// </summary>
internal static class GgufCorpus
{
    /// <summary>Name of the file, its bytes, and a part of the message that refuses it.</summary>
    public static IEnumerable<(string Name, byte[] Bytes, string Reason)> Hostile()
    {
        // Heads.
        yield return ("empty", [], "fewer than the 24");
        yield return ("truncated-header", Raw(w => w.Write("GGUF\u0003\0\0\0"u8)), "fewer than the 24");
        yield return ("other-magic", Raw(w => Head(w, "GGML"u8, 3, 0, 0)), "magic");
        yield return ("version-1", Raw(w => Head(w, "GGUF"u8, 1, 0, 0)), "version 1");
        yield return ("version-4", Raw(w => Head(w, "GGUF"u8, 4, 0, 0)), "version 4");
        yield return ("big-endian", Raw(w => Head(w, "GGUF"u8, 0x03000000, 0, 0)), "byte-swapped");

        // Counts: the reader allocated n * size, which wrapped (CVE-2024-23605), and tensors * overhead (CVE-2026-27940).
        yield return ("cve-2024-23605-entry-count", Raw(w => Head(w, "GGUF"u8, 3, 0, 0x0555555555555556)), "metadata entries");
        yield return ("cve-2026-27940-tensor-count", Raw(w => Head(w, "GGUF"u8, 3, 0x00B60B60B60B60B7, 0)), "tensors");
        yield return ("entry-count-beyond-file", Raw(w => Head(w, "GGUF"u8, 3, 0, 1000)), "metadata entries");
        yield return ("entry-count-too-large-by-one", Raw(w => { Head(w, "GGUF"u8, 3, 0, 2); Text(w, "a"); w.Write(7u); w.Write((byte)1); w.Write(new byte[64]); }), "empty");

        // The Python reader believed counts and lengths, and looped or allocated for hours (llama.cpp 27188).
        yield return ("llama-27188-entry-count", Raw(w => Head(w, "GGUF"u8, 3, 0, ulong.MaxValue >> 1)), "metadata entries");
        yield return ("llama-27188-tensor-count", Raw(w => Head(w, "GGUF"u8, 3, ulong.MaxValue >> 1, 0)), "tensors");
        yield return ("llama-27188-string-length", Entry(w => { Text(w, "k"); w.Write(8u); w.Write(ulong.MaxValue >> 1); w.Write(new byte[32]); }), "claims 9223372036854775807 bytes");
        yield return ("llama-27188-array-length", Entry(w => { Text(w, "k"); w.Write(9u); w.Write(0u); w.Write(ulong.MaxValue >> 1); w.Write(new byte[32]); }), "claims 9223372036854775807 elements");
        // A saved state (llama.cpp's "ggsn" and "ggsq" files) whose cell count makes the size of a write wrap (CVE-2026-43629). Here no file is
        // ever read as a state, so such a file is only one with another magic.
        yield return ("cve-2026-43629-saved-state", Raw(w => { w.Write("nsgg"u8); w.Write(9u); w.Write(0u); w.Write(1u); w.Write(0x20000001u); w.Write(new byte[64]); }), "magic");

        // Strings: length + 1 wrapped to 0 (CVE-2024-23496).
        yield return ("cve-2024-23496-string-length", Entry(w => { w.Write(ulong.MaxValue); w.Write("key"u8); }), "claims 18446744073709551615 bytes");
        yield return ("string-beyond-file", Entry(w => { w.Write(100UL); w.Write("key"u8); }), "claims 100 bytes");
        yield return ("value-string-beyond-file", Entry(w => { Text(w, "k"); w.Write(8u); w.Write(1UL << 40); }), "claims 1099511627776");
        yield return ("key-empty", Entry(w => { Text(w, ""); w.Write(7u); w.Write((byte)0); }), "is empty");
        yield return ("key-not-utf8", Entry(w => { w.Write(2UL); w.Write((byte)0xC3); w.Write((byte)0x28); w.Write(7u); w.Write((byte)0); }), "not UTF-8");
        yield return ("key-twice", Raw(w => { Head(w, "GGUF"u8, 3, 0, 2); Entry(w, "a", GgufValue.Of(1u)); Entry(w, "a", GgufValue.Of(2u)); }), "occurs twice");

        // Values.
        yield return ("value-type-13", Entry(w => { Text(w, "k"); w.Write(13u); w.Write(0UL); }), "has type 13");
        yield return ("bool-2", Entry(w => { Text(w, "k"); w.Write(7u); w.Write((byte)2); }), "is 2");
        yield return ("array-count-wraps", Entry(w => { Text(w, "k"); w.Write(9u); w.Write(4u); w.Write((1UL << 62) + 1); w.Write(0u); }), "claims 4611686018427387905 elements");
        yield return ("array-of-strings-count", Entry(w => { Text(w, "k"); w.Write(9u); w.Write(8u); w.Write(1UL << 33); }), "claims 8589934592 elements");
        yield return ("array-nested-deeply", Entry(w => { Text(w, "k"); w.Write(9u); for (var i = 0; i < 200; i++) { w.Write(9u); w.Write(1UL); } }), "nested deeper");
        yield return ("array-type-13", Entry(w => { Text(w, "k"); w.Write(9u); w.Write(13u); w.Write(1UL); w.Write(0UL); }), "has type 13");
        yield return ("value-truncated", Entry(w => { Text(w, "k"); w.Write(10u); w.Write(0u); }), "truncated");
        yield return ("llama-26318-alignment-type", Raw(w => { Head(w, "GGUF"u8, 3, 0, 1); Entry(w, "general.alignment", GgufValue.Of(32)); }), "power of two");
        yield return ("alignment-0", Raw(w => { Head(w, "GGUF"u8, 3, 0, 1); Entry(w, "general.alignment", GgufValue.Of(0u)); }), "power of two");
        yield return ("alignment-24", Raw(w => { Head(w, "GGUF"u8, 3, 0, 1); Entry(w, "general.alignment", GgufValue.Of(24u)); }), "power of two");

        // Tensors: more dimensions than ne[] has places (CVE-2024-21802).
        yield return ("cve-2024-21802-dimensions", Tensor(w => { Text(w, "t"); w.Write(5u); for (var i = 0; i < 5; i++) { w.Write(1UL); } w.Write(0u); w.Write(0UL); }), "5 dimensions");
        yield return ("dimensions-huge", Tensor(w => { Text(w, "t"); w.Write(uint.MaxValue); w.Write(0UL); w.Write(0UL); w.Write(0UL); }), "4294967295 dimensions");
        yield return ("dimensions-0", Tensor(w => Info(w, "t", [], 0, 0)), "0 dimensions");
        yield return ("llama-26366-extent-0", Tensor(w => Info(w, "t", [4, 0], 0, 0)), "extent of 0");
        yield return ("extent-negative", Tensor(w => Info(w, "t", [4, -1], 0, 0)), "extent of 18446744073709551615");
        // Sizes that wrap: nbytes (CVE-2026-33298), and sums of padded sizes (CVE-2025-53630, llama.cpp 26978).
        yield return ("cve-2026-33298-bytes-wrap", Tensor(w => Info(w, "t", [1024, (1L << 54) + 1], 0, 0)), "more than 2^63-1");
        yield return ("cve-2026-33298-four-extents", Tensor(w => Info(w, "t", [4, 1073741823, 1073741825, 4], 0, 0)), "more than 2^63-1");
        yield return ("llama-26978-padding-wraps", Tensor(w => Info(w, "t", [4, 1073741823, 1073741825, 1], 0, 0)), "2^63-1");
        yield return ("cve-2025-53630-sizes-wrap", Raw(w => { Head(w, "GGUF"u8, 3, 2, 0); Info(w, "a", [1L << 60], 0, 0); Info(w, "b", [1L << 60], 0, 1UL << 62); w.Write(new byte[64]); }), "exceeds the file");
        // A tensor larger than its data is copied with what lies behind it (CVE-2026-7482).
        yield return ("cve-2026-7482-data-short", Tensor(w => Info(w, "t", [1024], 0, 0)), "exceeds the file");
        yield return ("data-truncated", Tensor(w => Info(w, "t", [32], 0, 0), 64), "truncated");
        yield return ("type-31-removed", Tensor(w => Info(w, "t", [32], 31, 0)), "type 31");
        yield return ("type-43", Tensor(w => Info(w, "t", [32], 43, 0)), "type 43");
        yield return ("type-negative", Tensor(w => Info(w, "t", [32], uint.MaxValue, 0)), "type 4294967295");
        yield return ("row-not-whole-blocks", Tensor(w => Info(w, "t", [33], 8, 0)), "block size 32");
        yield return ("offset-unaligned", Tensor(w => Info(w, "t", [1], 0, 4)), "multiple of the alignment");
        yield return ("offset-beyond-file", Tensor(w => Info(w, "t", [1], 0, 1UL << 40)), "exceeds the file");
        yield return ("offset-wraps", Tensor(w => Info(w, "t", [1], 0, ulong.MaxValue - 31)), "exceeds the file");
        yield return ("tensors-overlap", Raw(w => { Head(w, "GGUF"u8, 3, 2, 0); Info(w, "a", [16], 0, 0); Info(w, "b", [8], 0, 32); Data(w, 128); }), "overlaps");
        yield return ("tensors-same-place", Raw(w => { Head(w, "GGUF"u8, 3, 2, 0); Info(w, "a", [8], 0, 0); Info(w, "b", [8], 0, 0); Data(w, 128); }), "overlaps");
        yield return ("tensor-twice", Raw(w => { Head(w, "GGUF"u8, 3, 2, 0); Info(w, "a", [8], 0, 0); Info(w, "a", [8], 0, 32); Data(w, 128); }), "occurs twice");
        yield return ("tensor-name-64-bytes", Tensor(w => Info(w, new string('n', 64), [8], 0, 0)), "claims 64 bytes");
        yield return ("tensor-name-empty", Tensor(w => Info(w, "", [8], 0, 0)), "is empty");
        yield return ("tensor-name-zero-byte", Tensor(w => Info(w, "a\0b", [8], 0, 0)), "zero byte");

        // Metadata that llama.cpp divides by, indexes with or believes.
        yield return ("block-count-100000", Model(m => m["llama.block_count"] = GgufValue.Of(100000u)), "block_count is UInt32 100000");
        yield return ("llama-25821-block-count-513", Model(m => m["llama.block_count"] = GgufValue.Of(513u)), "1 to 512");
        yield return ("block-count-too-small", Model(m => m["llama.block_count"] = GgufValue.Of(1u)), "there is a tensor \"blk.1");
        yield return ("block-count-too-large", Model(m => m["llama.block_count"] = GgufValue.Of(3u)), "layer 2 has no tensor");
        yield return ("block-count-text", Model(m => m["llama.block_count"] = GgufValue.Of("2")), "block_count is String");
        yield return ("head-count-0", Model(m => m["llama.attention.head_count"] = GgufValue.Of(0u)), "missing or 0");
        yield return ("head-count-kv-0", Model(m => m["llama.attention.head_count_kv"] = GgufValue.Of(0u)), "does not divide");
        yield return ("head-count-array-of-bytes", Model(m => m["llama.attention.head_count"] = new GgufValue(GgufValueType.Array, new byte[] { 2, 2 }, GgufValueType.UInt8)), "not of 32-bit integers");
        yield return ("head-count-array-short", Model(m => m["llama.attention.head_count"] = GgufValue.OfArray(new[] { 2u })), "1 numbers for 2 layers");
        yield return ("context-0", Model(m => m["llama.context_length"] = GgufValue.Of(0u)), "context_length is UInt32 0");
        yield return ("embedding-length-differs", Model(m => m["llama.embedding_length"] = GgufValue.Of(64u)), "rows of token_embd.weight");
        yield return ("expert-used-beyond-count", Model(m => { m["llama.expert_count"] = GgufValue.Of(2u); m["llama.expert_used_count"] = GgufValue.Of(9u); }), "expert_used_count");
        yield return ("rope-scaling-unknown", Model(m => m["llama.rope.scaling.type"] = GgufValue.Of("cubic")), "none, linear, yarn");
        yield return ("rope-sections-short-type", Model(m => m["llama.rope.dimension_sections"] = new GgufValue(GgufValueType.Array, new byte[] { 1, 1, 1, 1 }, GgufValueType.UInt8)), "dimension_sections");
        yield return ("architecture-missing", Model(m => m.Remove("general.architecture")), "general.architecture");
        yield return ("architecture-format-string", Model(m => m["general.architecture"] = GgufValue.Of("%n%n")), "no name");
        yield return ("cve-2025-49847-token-too-long", Model(m => m["tokenizer.ggml.tokens"] = GgufValue.OfArray(["<unk>", "<s>", "</s>", new string('x', 70000)])), "token 3 of more than");
        yield return ("tokens-not-text", Model(m => m["tokenizer.ggml.tokens"] = GgufValue.OfArray(new[] { 1, 2, 3, 4 })), "not an array of text");
        yield return ("llama-24888-scores-of-bytes", Model(m => m["tokenizer.ggml.scores"] = new GgufValue(GgufValueType.Array, new byte[4], GgufValueType.UInt8)), "of type Single");
        yield return ("llama-20735-scores-short", Model(m => m["tokenizer.ggml.scores"] = GgufValue.OfArray(new float[3])), "at least 4 elements");
        yield return ("llama-24888-types-of-bytes", Model(m => m["tokenizer.ggml.token_type"] = new GgufValue(GgufValueType.Array, new sbyte[4], GgufValueType.Int8)), "of type Int32");
        yield return ("token-type-99", Model(m => m["tokenizer.ggml.token_type"] = GgufValue.OfArray([1, 1, 1, 99])), "type 99");
        yield return ("llama-25969-byte-token-negative", Model(m => { m["tokenizer.ggml.tokens"] = GgufValue.OfArray(["<unk>", "<s>", "</s>", "<0x-1>"]); m["tokenizer.ggml.token_type"] = GgufValue.OfArray([2, 3, 3, 6]); }), "byte token 3");
        yield return ("llama-25475-eos-beyond-vocabulary", Model(m => m["tokenizer.ggml.eos_token_id"] = GgufValue.Of(4u)), "eos_token_id is UInt32 4");
        yield return ("llama-25508-default-id-beyond-vocabulary", Model(m => { m["tokenizer.ggml.tokens"] = GgufValue.OfArray(["a", "b"]); m.Remove("tokenizer.ggml.eos_token_id"); }), "falls back to id 2");
        yield return ("llama-25258-charsmap-short", Model(m => m["tokenizer.ggml.precompiled_charsmap"] = new GgufValue(GgufValueType.Array, new byte[2], GgufValueType.UInt8)), "four bytes");
        yield return ("merge-without-space", Model(m => m["tokenizer.ggml.merges"] = GgufValue.OfArray(["a b", "ab"])), "entry 1");
        yield return ("merges-not-text", Model(m => m["tokenizer.ggml.merges"] = GgufValue.OfArray(new[] { 1 })), "not an array of text");
        yield return ("suppress-tokens-beyond-vocabulary", Model(m => m["tokenizer.ggml.suppress_tokens"] = GgufValue.OfArray(new[] { -1 })), "suppress_tokens");
    }

    /// <summary>A small sound model, and what to change in its metadata.</summary>
    public static byte[] Model(Action<Dictionary<string, GgufValue>>? change = null)
    {
        var entries = new Dictionary<string, GgufValue>
        {
            ["general.architecture"] = GgufValue.Of("llama"),
            ["llama.block_count"] = GgufValue.Of(2u),
            ["llama.context_length"] = GgufValue.Of(16u),
            ["llama.embedding_length"] = GgufValue.Of(8u),
            ["llama.attention.head_count"] = GgufValue.Of(2u),
            ["llama.attention.head_count_kv"] = GgufValue.Of(1u),
            ["tokenizer.ggml.model"] = GgufValue.Of("llama"),
            ["tokenizer.ggml.tokens"] = GgufValue.OfArray(["<unk>", "<s>", "</s>", "x"]),
            ["tokenizer.ggml.scores"] = GgufValue.OfArray([0f, 0, 0, -1]),
            ["tokenizer.ggml.token_type"] = GgufValue.OfArray([2, 3, 3, 1]),
            ["tokenizer.ggml.bos_token_id"] = GgufValue.Of(1u),
            ["tokenizer.ggml.eos_token_id"] = GgufValue.Of(2u),
        };
        change?.Invoke(entries);
        var metadata = new GgufMetadata();
        foreach (var (key, value) in entries)
        {
            metadata.Set(key, value);
        }

        GgufTensorSpec[] tensors =
        [
            new("token_embd.weight", GgmlType.F16, [8, 4]), new("blk.0.attn_q.weight", GgmlType.F16, [8, 8]), new("blk.1.attn_q.weight", GgmlType.F32, [8, 8]),
        ];
        using var stream = new MemoryStream();
        var writer = new GgufWriter(stream, metadata, tensors);
        while (writer.Current is { } current)
        {
            writer.Write(new byte[current.Bytes]);
        }

        writer.Complete();
        return stream.ToArray();
    }

    private static byte[] Raw(Action<BinaryWriter> write)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        write(writer);
        writer.Flush();
        return stream.ToArray();
    }

    private static byte[] Entry(Action<BinaryWriter> write) => Raw(w => { Head(w, "GGUF"u8, 3, 0, 1); write(w); });

    private static byte[] Tensor(Action<BinaryWriter> write, int data = 256) => Raw(w => { Head(w, "GGUF"u8, 3, 1, 0); write(w); Data(w, data); });

    private static void Head(BinaryWriter w, ReadOnlySpan<byte> magic, uint version, ulong tensors, ulong entries)
    {
        w.Write(magic);
        w.Write(version);
        w.Write(tensors);
        w.Write(entries);
    }

    private static void Entry(BinaryWriter w, string key, GgufValue value)
    {
        Text(w, key);
        GgufValues.Write(w, value);
    }

    private static void Info(BinaryWriter w, string name, long[] shape, uint type, ulong offset)
    {
        Text(w, name);
        w.Write((uint)shape.Length);
        Array.ForEach(shape, extent => w.Write((ulong)extent));
        w.Write(type);
        w.Write(offset);
    }

    private static void Data(BinaryWriter w, int bytes)
    {
        w.Write(new byte[(32 - (w.BaseStream.Length % 32)) % 32]);
        w.Write(new byte[bytes]);
    }

    private static void Text(BinaryWriter w, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        w.Write((ulong)bytes.Length);
        w.Write(bytes);
    }
}
