using System.Text;
using CsCheck;
using EdgeFarm.Artifacts.Trees;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.Tests.Trees;

public sealed class TreeManifestTests
{
    private static readonly Digest Content = Digest.OfText("content");

    public static TheoryData<string> HostileNames => new()
    {
        "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "..\\x", "C:x", "C:\\x", "\\\\server\\share",
        "a\0b", "a\nb", "a\u007fb", "NUL", "nul.txt", "con", "x/COM1.bin", "LPT9 .txt", "a.", "a ", "a/b ", "x?", "x*", "<x>", "a|b", "\"x\"", "a:stream",
        new string('a', 256), new string('é', 128), string.Concat(Enumerable.Repeat("a/", 600)) + "a",
    };

    [Theory]
    [MemberData(nameof(HostileNames))]
    public void Refuses_names_that_leave_the_root_or_cannot_exist_everywhere(string path)
    {
        Assert.NotNull(TreePath.Problem(path));
        TreeManifest.Create([new TreeEntry(path, 1, Content, false)]).ShouldFail(FailureType.InvalidInput);
    }

    [Fact]
    public void Refuses_half_a_surrogate_pair() => Assert.Equal("is not valid Unicode", TreePath.Problem("\ud800x"));

    [Theory]
    [InlineData("a")]
    [InlineData("a/b/c.txt")]
    [InlineData(".gitattributes")]
    [InlineData("..a/b..c")]
    [InlineData("with space/and (brackets) [1].bin")]
    [InlineData("modèle/模型.gguf")]
    [InlineData("NULL/console.txt")]
    [InlineData("COM10")]
    public void Accepts_ordinary_names(string path) => Assert.Null(TreePath.Problem(path));

    [Theory]
    [InlineData("a", "a")]
    [InlineData("a", "A")]
    [InlineData("a", "a/b")]
    [InlineData("a/b", "a")]
    [InlineData("Dir/x", "dir/y")]
    [InlineData("x/b/c", "X")]
    public void Refuses_names_that_collide_on_some_system(string first, string second) =>
        TreeManifest.Create([new TreeEntry(first, 1, Content, false), new TreeEntry(second, 1, Content, false)])
            .ShouldFail(FailureType.InvalidInput, first, second);

    [Fact]
    public void Has_the_documented_canonical_form()
    {
        var manifest = TreeManifest.Create(
        [
            new TreeEntry("b.bin", 7, Content, true),
            new TreeEntry("a/é", 0, Digest.OfText(""), false),
        ]).Value;

        var text = $"edgefarm-tree/1\n{Digest.OfText("").Hex} 0 - a/é\n{Content.Hex} 7 x b.bin\n";
        Assert.Equal(text, Encoding.UTF8.GetString(manifest.Bytes.Span));
        Assert.Equal(Digest.OfText(text), manifest.Digest);
        Assert.Equal(7, manifest.Size);
    }

    [Fact]
    public void Orders_paths_by_their_utf8_bytes()
    {
        // U+1F600 sorts below U+FF5E in UTF-16 (surrogates), above it in UTF-8.
        var manifest = TreeManifest.Create([new TreeEntry("\U0001F600", 7, Content, false), new TreeEntry("\uFF5E", 7, Content, false)]).Value;
        Assert.Equal(["\uFF5E", "\U0001F600"], manifest.Entries.Select(e => e.Path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("edgefarm-tree/2\n")]
    [InlineData("edgefarm-tree/1\nnonsense\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - a")]
    [InlineData("edgefarm-tree/1\n{0} 07 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} +7 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} -7 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} 99999999999999999999 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 y a\n")]
    [InlineData("edgefarm-tree/1\nsha256:{0} 7 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - b\n{0} 7 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - a\n{0} 8 - b\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - a\n{0} 7 - a\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - ../a\n")]
    [InlineData("edgefarm-tree/1\n{0} 7 - a\n\n")]
    [InlineData("edgefarm-tree/1\n{0} 9223372036854775807 - a\n{1} 9223372036854775807 - b\n")]
    public void Refuses_what_is_not_canonical(string text) =>
        TreeManifest.Parse(Encoding.UTF8.GetBytes(string.Format(null, text, Content.Hex, Digest.OfText("").Hex))).ShouldFail(FailureType.InvalidInput);

    [Fact]
    public void Refuses_bytes_that_are_no_text() => TreeManifest.Parse([0x65, 0xff, 0x00]).ShouldFail(FailureType.InvalidInput, "UTF-8");

    [Fact]
    public void Reads_back_what_it_writes_whatever_the_order() => RandomTrees.Entries.Sample(entries =>
    {
        var manifest = TreeManifest.Create(entries).Value;
        var reversed = TreeManifest.Create(entries.Reverse()).Value;
        var parsed = TreeManifest.Parse(manifest.Bytes.Span).Value;
        return manifest.Digest == reversed.Digest && parsed.Digest == manifest.Digest && parsed.Entries.SequenceEqual(manifest.Entries);
    });

    [Fact]
    public void Never_throws_on_random_damage() => Gen.Select(RandomTrees.Entries, Gen.Int[0, 10_000], Gen.Byte).Sample((entries, at, value) =>
    {
        var bytes = TreeManifest.Create(entries).Value.Bytes.ToArray();
        bytes[at % bytes.Length] = value;
        var parsed = TreeManifest.Parse(bytes);

        // Whatever is accepted is canonical: its bytes are the bytes that were read.
        return !parsed.IsOk || parsed.Value.Bytes.Span.SequenceEqual(bytes);
    });
}
