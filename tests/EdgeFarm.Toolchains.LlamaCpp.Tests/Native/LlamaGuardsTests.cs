using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Tests.Native;

public sealed class LlamaGuardsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_packaged_build_passes() => Assert.Null(Check(abi => abi));

    [Theory]
    [InlineData("release")]
    [InlineData("commit")]
    [InlineData("model size")]
    [InlineData("context size")]
    [InlineData("quantize size")]
    [InlineData("context offset")]
    [InlineData("quantize offset")]
    [InlineData("type count")]
    [InlineData("tensor")]
    [InlineData("operation")]
    public void A_build_that_differs_in_anything_is_refused(string what)
    {
        var failure = Check(abi => what switch
        {
            "release" => abi with { Version = "0.6.0" },
            "commit" => abi with { PackagedCommit = "1234567" },
            "model size" => abi with { Model = abi.Model with { Size = 72 } },
            "context size" => abi with { Context = abi.Context with { Size = 168 } },
            "quantize size" => abi with { Quantize = abi.Quantize with { Size = 56 } },
            "context offset" => abi with { Context = abi.Context with { TypeK = 108, TypeV = 112 } },
            "quantize offset" => abi with { Quantize = abi.Quantize with { Ftype = 0 } },
            "type count" => abi with { TypeCount = 42 },
            "tensor" => abi with { Tensor = abi.Tensor with { Overhead = 376 } },
            _ => abi with { OpMulMat = 28, OpMulMatId = 29 },
        });

        Assert.NotNull(failure);
        Assert.Equal(FailureType.Unsupported, failure.Type);
        Assert.Contains("cannot drive", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_directory_without_libraries_says_what_belongs_there()
    {
        var failure = LlamaProbe.Run(_folder["nothing"]).Failure;

        Assert.Equal(FailureType.Unsupported, failure!.Type);
        Assert.Contains("EDGEFARM_LLAMA_LIB", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("libllama.v0.5.0.so", "libggml.v0.5.0.so", "libggml-base.so")]
    [InlineData("libllama.vulkan.v0.5.0.so", "libggml.vulkan.v0.5.0.so", "libggml-base.vulkan.so")]
    [InlineData("libllama.so.0.5.0", "libggml.so", "libggml-base.so.0")]
    public void Libraries_are_found_by_the_names_that_builds_give_them(string llama, string ggml, string ggmlBase)
    {
        foreach (var name in (string[])[llama, ggml, ggmlBase, "libllama-common.so", "libggml-cpu-haswell.so", "libggml-rpc.so"])
        {
            File.WriteAllBytes(_folder[name], []);
        }

        var files = LlamaLibraryFiles.Locate(_folder[""]);

        Assert.Equal((_folder[llama], _folder[ggml], _folder[ggmlBase]), (files.Llama, files.Ggml, files.GgmlBase));
        Assert.False(files.Packaged);
        Assert.Equal(files, LlamaLibraryFiles.Locate(_folder[llama]) with { Directory = files.Directory });
        Assert.Empty(files.Backends(accelerators: false, []));
        Assert.Empty(files.Backends(accelerators: true, []));
    }

    private static Failure? Check(Func<LlamaAbi, LlamaAbi> change) => LlamaLibrary.Run(null, LlamaHooks.None, (library, _) =>
    {
        LlamaGuards.Check(library.Api, LlamaLibraryFiles.Locate(null), [change(LlamaAbi.Known[0])]);
        return true;
    }).Failure;
}
