using System.Diagnostics;
using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Onnx;
using EdgeFarm.ModelFormats.Onnx.Proto;

namespace EdgeFarm.ModelFormats.Tests.Onnx;

/// <summary>Where a model may and may not keep its weights; one case for each published weakness of ONNX's own loader.</summary>
public sealed class ExternalDataTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("edgefarm-onnx-").FullName;
    private readonly string _models;

    public ExternalDataTests()
    {
        _models = Path.Combine(_root, "models");
        Directory.CreateDirectory(Path.Combine(_models, "sub"));
        Directory.CreateDirectory(Path.Combine(_root, "outside"));
        File.WriteAllBytes(Path.Combine(_root, "outside", "secret"), new byte[48]);
        File.WriteAllBytes(Path.Combine(_models, "w.data"), Enumerable.Range(0, 64).Select(i => (byte)i).ToArray());
        File.WriteAllBytes(Path.Combine(_models, "sub", "w.data"), new byte[48]);
    }

    [Fact]
    public void Weights_beside_the_model_and_below_it_are_read()
    {
        using var beside = OnnxModel.Load(TestModels.External("w.data", "16", "48").Write(_models)).Value;
        Assert.Equal(16, OnnxTensors.Bytes(beside.Graph.Initializer[0])[0]);
        using var below = OnnxModel.Load(TestModels.External("sub/w.data").Write(_models, "n.onnx")).Value;
        Assert.Equal(12, OnnxTensors.ToFloats(below.Graph.Initializer[0]).Length);
    }

    // CVE-2022-25882: the location leaves the directory. CVE-2024-27318: it does so after a harmless prefix.
    [Theory]
    [InlineData("../outside/secret", "'..'")]
    [InlineData("sub/../../outside/secret", "'..'")]
    [InlineData("./../outside/secret", "'..'")]
    [InlineData("sub\\..\\..\\outside\\secret", "'..'")]
    [InlineData("/etc/hostname", "is absolute")]
    [InlineData("\\\\host\\share\\w", "is absolute")]
    [InlineData("C:\\w.data", "is absolute")]
    [InlineData("", "is empty")]
    [InlineData("w.data\0.png", "control characters")]
    [InlineData("absent.data", "does not exist")]
    [InlineData("sub", "is a directory")]
    public void A_location_must_be_a_file_below_the_model(string location, string expected) => Invalid(TestModels.External(location), expected);

    // CVE-2024-27319: a message that was put together from the model's own text read beyond it.
    [Fact]
    public void A_message_is_short_however_long_the_models_names_are()
    {
        var model = TestModels.External("../x");
        model.Graph.Initializer[0].Name = new string('w', 1 << 20) + "\n\u0007";
        model.Graph.Node[0].Input[1] = model.Graph.Initializer[0].Name;
        var failure = Invalid(model, "'..'");
        Assert.True(failure.Message.Length < 1000);
        Assert.DoesNotContain('\n', failure.Message);
    }

    // CVE-2026-27489 and CVE-2026-34447: the last part, or one on the way, is a symbolic link.
    [Theory]
    [InlineData("link.data")]
    [InlineData("linked/secret")]
    public void A_symbolic_link_is_not_followed(string location)
    {
        File.CreateSymbolicLink(Path.Combine(_models, "link.data"), Path.Combine(_root, "outside", "secret"));
        Directory.CreateSymbolicLink(Path.Combine(_models, "linked"), Path.Combine(_root, "outside"));
        Invalid(TestModels.External(location), "symbolic link");
    }

    // CVE-2026-34446: a hard link to a file outside looks like any other file.
    [SkippableFact]
    public void A_hard_link_is_not_followed()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "hard links are made with ln");
        Shell("ln", Path.Combine(_root, "outside", "secret"), Path.Combine(_models, "hard.data"));
        Invalid(TestModels.External("hard.data"), "hard links");
    }

    // CVE-2026-34445: entries became members of an object, whatever their key.
    [Fact]
    public void Unknown_entries_change_nothing()
    {
        var model = TestModels.External("w.data");
        foreach (var key in new[] { "__class__", "__dict__", "basepath", "checksum", "info" })
        {
            model.Graph.Initializer[0].ExternalData.Add(new StringStringEntryProto { Key = key, Value = "9223372036854775807" });
        }

        using var loaded = OnnxModel.Load(model.Write(_models)).Value;
        Assert.Equal(48, loaded.Graph.Initializer[0].RawData.Length);
    }

    // CVE-2026-28500: a flag told a loader to trust its source. Nothing that a model says about itself turns a check off.
    [Theory]
    [InlineData("silent", "True")]
    [InlineData("trusted", "true")]
    [InlineData("verify", "false")]
    public void A_model_cannot_vouch_for_itself(string key, string value)
    {
        var model = TestModels.External("../outside/secret");
        model.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });
        model.Graph.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });
        model.Graph.Initializer[0].ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        Invalid(model, "'..'");
    }

    [Theory]
    [InlineData("17", "48", "bytes 17 to 65 are asked for, 'w.data' has 64")]
    [InlineData("9223372036854775807", null, "are asked for")]
    [InlineData("-1", null, "offset '-1'")]
    [InlineData("0x10", null, "offset '0x10'")]
    [InlineData("0", "47", "length says 47 bytes, its dimensions need 48")]
    public void Offset_and_length_must_lie_in_the_file(string offset, string? length, string expected) =>
        Invalid(TestModels.External("w.data", offset, length), expected);

    [SkippableFact]
    public void A_file_with_holes_is_not_taken_for_weights()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "allocated blocks are told on Linux");
        using (var file = File.Create(Path.Combine(_models, "holes.data")))
        {
            file.SetLength(1L << 30);
        }

        var model = TestModels.External("holes.data");
        model.Graph.Initializer[0].Dims[0] = 1 << 26;
        model.Graph.Initializer[0].Dims[1] = 4;
        Invalid(model, "holes");
    }

    [SkippableFact]
    public void A_pipe_is_not_opened()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "pipes are made with mkfifo");
        Shell("mkfifo", Path.Combine(_models, "pipe.data"));
        Invalid(TestModels.External("pipe.data"), "is not a regular file");
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private Failure Invalid(ModelProto model, string expected)
    {
        var failure = OnnxModel.Load(model.Write(_models)).Failure;
        Assert.NotNull(failure);
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
        return failure;
    }

    private static void Shell(string command, params string[] arguments)
    {
        using var process = Process.Start(command, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
