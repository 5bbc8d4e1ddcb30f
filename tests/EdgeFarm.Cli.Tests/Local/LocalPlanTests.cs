using EdgeFarm.Cli.Client;
using EdgeFarm.Cli.Commands;
using EdgeFarm.Cli.Local;
using EdgeFarm.Server;

namespace EdgeFarm.Cli.Tests.Local;

public sealed class LocalPlanTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-local-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void A_named_form_is_one_pass_after_the_check_of_its_source()
    {
        var plan = Make("m.gguf", "GGUF", "q4_k_m");

        Assert.Equal(("llama.cpp", "Q4_K_M", "3-4"), (plan.Toolchain.Identity.Id, plan.Form, plan.PrecisionClass));
        Assert.Equal(["Import", "GgufQuantization"], plan.Jobs.Select(j => j.Operation));
        Assert.Equal("Q4_K_M", plan.Jobs[1].Parameters["ftype"]);
        Assert.Equal("false", plan.Jobs[1].Parameters["pure"]);
    }

    [Fact]
    public void A_sweep_makes_the_form_by_the_same_jobs()
    {
        // With a parameter that is the default the chain is spelled out; it must come to the same job as the named form.
        var named = Make("m.gguf", "GGUF", "Q4_K_M").Jobs[1];
        var spelled = Make("m.gguf", "GGUF", "Q4_K_M", ("pure", "false")).Jobs[1];
        Assert.Equal(named.Parameters, spelled.Parameters);
        Assert.Equal(named.Engine, spelled.Engine);
    }

    [Fact]
    public void Parameters_go_to_the_pass_that_has_them_and_files_become_inputs()
    {
        var imatrix = Write("im.gguf", "GGUF");
        var plan = Make("m.gguf", "GGUF", "IQ2_XXS", ("imatrix", imatrix), ("output_tensor_type", "q6_K"), ("prune_layers", "3"));

        var job = plan.Jobs[^1];
        Assert.Equal(("q6_k", "3"), (job.Parameters["output_tensor_type"], job.Parameters["prune_layers"]));
        Assert.Equal(["imatrix", "model"], job.Inputs.Select(i => i.Name));
        var given = job.Inputs[0].Source.Artifact!;
        Assert.Equal((imatrix, "im.gguf"), (plan.Inputs[given.Digest].Path, given.FileName));
        Assert.Equal("IQ2_XXS+imatrix", plan.Form);
    }

    [Fact]
    public void Calibration_samples_go_to_every_pass_of_the_chain()
    {
        var samples = Write("samples.npz", "PK");
        var plan = Make("m.onnx", "", "smooth-int8", ("calibration", samples));
        Assert.Equal(["OnnxSmoothQuant", "OnnxStaticQuantization"], plan.Jobs.Skip(1).Select(j => j.Operation));
        Assert.All(plan.Jobs.Skip(1), job => Assert.Contains(job.Inputs, i => i.Name == "calibration"));
    }

    [Fact]
    public void A_form_that_is_chosen_by_measuring_wants_the_machine_alone()
    {
        var plan = MakeIn("m.onnx", "", "auto", ("OnnxAutoOpt", "objective", "size"));
        Assert.Equal(("auto", "OnnxAutoOpt", "size"), (plan.Form, plan.Jobs[^1].Operation, plan.Jobs[^1].Parameters["objective"]));
        Assert.True(plan.Jobs[^1].IsExclusive);
        Assert.DoesNotContain(Make("m.onnx", "", "dynamic-int8").Jobs, j => j.IsExclusive);
    }

    [Fact]
    public void A_text_becomes_an_importance_matrix_first()
    {
        var plan = Make("m.gguf", "GGUF", "Q4_K_M", ("calibration", Write("c.txt", "some text")), ("imatrix_chunks", "3"));
        Assert.Equal("Q4_K_M+imatrix", plan.Form);
        Assert.Equal(["Import", "GgufImportanceMatrix", "GgufQuantization"], plan.Jobs.Select(j => j.Operation));
        Assert.Equal("3", plan.Jobs[1].Parameters["chunks"]);
        Assert.Equal(plan.Jobs[1].Id, plan.Jobs[2].Inputs.Single(i => i.Name == "imatrix").Source.Job);
    }

    [Theory]
    [InlineData("IQ2_XXS")]
    [InlineData("Q4_K_M+imatrix")]
    public void A_form_that_needs_an_importance_matrix_says_how_to_give_it(string form)
    {
        var wrong = Assert.Throws<BadInputException>(() => Make("m.gguf", "GGUF", form));
        Assert.Contains("needs 'imatrix'", wrong.Message, StringComparison.Ordinal);
        Assert.Contains("--calibration PATH", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pass_is_a_form_by_its_type()
    {
        var plan = Make("m.onnx", "", "OnnxMatMulNBits", ("bits", "4"), ("block_size", "32"));
        Assert.Equal(("onnxruntime", "OnnxMatMulNBits", "3-4"), (plan.Toolchain.Identity.Id, plan.Form, plan.PrecisionClass));
        Assert.Equal(("4", "32"), (plan.Jobs[^1].Parameters["bits"], plan.Jobs[^1].Parameters["block_size"]));

        var set = MakeIn("m.onnx", "", "int4", ("OnnxMatMulNBits", "block_size", "128"));
        Assert.Equal("128", set.Jobs[^1].Parameters["block_size"]);
    }

    [Fact]
    public void A_checkpoint_is_converted_before_it_is_quantized()
    {
        var plan = LocalPlan.Make(new LocalRequest(LocalInput.Open(Checkpoint()), null, "Q8_0", []), BuiltInToolchains.Catalog);
        Assert.Equal(["Import", "GgufConversion", "GgufQuantization"], plan.Jobs.Select(j => j.Operation));

        var set = LocalPlan.Make(
            new LocalRequest(LocalInput.Open(Checkpoint()), null, "Q8_0", [new LocalParameter(null, "outtype", "f32", "--set outtype")]), BuiltInToolchains.Catalog);
        Assert.Equal("f32", set.Jobs[1].Parameters["outtype"]);
    }

    [Fact]
    public void Shapes_of_inputs_are_read_and_reach_the_pass()
    {
        var dims = QuantizeCommand.ReadDims(["x=1,3,48,320", "a=b=2"]);
        Assert.Equal("2", string.Join(',', dims["a=b"]));
        var plan = LocalPlan.Make(new LocalRequest(LocalInput.Open(Write("m.onnx", "")), null, "static-int8", []) { Dims = dims }, BuiltInToolchains.Catalog);
        Assert.Equal("1,3,48,320", plan.Jobs[^1].Parameters["dims.x"]);

        foreach (var wrong in new[] { "x", "=1", "x=", "x=1,-1", "x=1,0", "x=1,b" })
        {
            Assert.Contains($"--dims '{wrong}' must be", Assert.Throws<BadInputException>(() => QuantizeCommand.ReadDims([wrong])).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("Q4_K_N", "did you mean Q4_K_M?", "forms: F32, F16")]
    [InlineData("GgufQuantisation", "did you mean GgufQuantization?", "passes: ")]
    [InlineData("dynamic-int8", "llama.cpp has no form 'dynamic-int8'", "")]
    public void An_unknown_form_lists_the_known_ones(string form, string expected, string also)
    {
        var wrong = Assert.Throws<BadInputException>(() => Make("m.gguf", "GGUF", form));
        Assert.Contains(expected, wrong.Message, StringComparison.Ordinal);
        Assert.Contains(also, wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_wrong_with_a_parameter_is_told()
    {
        string Wrong(params (string Name, string Value)[] parameters) => Assert.Throws<BadInputException>(() => Make("m.gguf", "GGUF", "Q4_K_M", parameters)).Message;

        Assert.Contains("pure: 'maybe' is neither true nor false", Wrong(("pure", "maybe")), StringComparison.Ordinal);
        Assert.Contains("has no parameter 'pur' - did you mean pure?", Wrong(("pur", "true")), StringComparison.Ordinal);
        Assert.Contains("there is no file or directory", Wrong(("imatrix", "none.gguf")), StringComparison.Ordinal);
        Assert.Contains("the chain has no pass 'Other'", Assert.Throws<BadInputException>(() => MakeIn("m.gguf", "GGUF", "Q4_K_M", ("Other", "pure", "true"))).Message, StringComparison.Ordinal);
        Assert.Contains("'m.txt' is no model that a toolchain reads", Assert.Throws<BadInputException>(() => Make("m.txt", "text", "Q4_K_M")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_output_must_have_a_place_and_be_no_input()
    {
        var model = LocalInput.Open(Write("m.gguf", "GGUF"));
        var checkpoint = LocalInput.Open(Checkpoint());
        string Wrong(string path) => Assert.Throws<BadInputException>(() => LocalOutput.Open(path, [model, checkpoint])).Message;

        Assert.Contains("there is no directory", Wrong(In("none/x.gguf")), StringComparison.Ordinal);
        Assert.Contains("is a directory; name the file to write", Wrong(_folder.FullName), StringComparison.Ordinal);
        Assert.Contains("is the input itself", Wrong(In("m.gguf")), StringComparison.Ordinal);
        Assert.Contains("is the input itself or a file of it", Wrong(Path.Combine(checkpoint.Path, "model.safetensors")), StringComparison.Ordinal);
        File.CreateSymbolicLink(In("link.gguf"), In("m.gguf"));
        Assert.Contains("is the input itself", Wrong(In("link.gguf")), StringComparison.Ordinal);
    }

    [Fact]
    public void An_output_appears_whole_and_its_scratch_goes()
    {
        var model = LocalInput.Open(Write("m.gguf", "GGUF"));
        File.WriteAllText(In("out.gguf"), "old");
        using (var output = LocalOutput.Open(In("out.gguf"), [model]))
        {
            File.WriteAllText(Path.Combine(output.Scratch, "made"), "new");
            output.Place(new LocalResult(Path.Combine(output.Scratch, "made"), "gguf", IsInput: false, []));
        }

        Assert.Equal("new", File.ReadAllText(In("out.gguf")));
        using (var output = LocalOutput.Open(In("out.gguf"), [model]))
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(model.Path, UnixFileMode.UserRead);
            }

            output.Place(new LocalResult(model.Path, "gguf", IsInput: true, []));
        }

        Assert.Equal("GGUF", File.ReadAllText(In("out.gguf")));
        Assert.Equal(["m.gguf", "out.gguf"], _folder.GetFileSystemInfos().Select(f => f.Name).Order(StringComparer.Ordinal));
    }

    private LocalPlan Make(string name, string content, string form, params (string Name, string Value)[] parameters) =>
        MakeIn(name, content, form, [.. parameters.Select(p => ((string?)null, p.Name, p.Value))]);

    private LocalPlan MakeIn(string name, string content, string form, params (string? Pass, string Name, string Value)[] parameters) => LocalPlan.Make(
        new LocalRequest(LocalInput.Open(Write(name, content)), null, form, [.. parameters.Select(p => new LocalParameter(p.Pass, p.Name, p.Value, $"--set {p.Name}"))]),
        BuiltInToolchains.Catalog);

    private string In(string name) => Path.Combine(_folder.FullName, name);

    private string Write(string name, string content)
    {
        File.WriteAllText(In(name), content);
        return In(name);
    }

    private string Checkpoint()
    {
        var folder = _folder.CreateSubdirectory("checkpoint").FullName;
        File.WriteAllText(Path.Combine(folder, "config.json"), "{}");
        File.WriteAllText(Path.Combine(folder, "model.safetensors"), "");
        return folder;
    }
}
