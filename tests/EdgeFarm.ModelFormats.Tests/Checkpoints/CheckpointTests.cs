using EdgeFarm.ModelFormats.Checkpoints;

namespace EdgeFarm.ModelFormats.Tests.Checkpoints;

public class CheckpointTests
{
    [Fact]
    public void Both_spellings_of_a_config_read_the_same()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/llama3-tied-bf16-sharded"));
        var old = Config(copy);
        copy.Edit("config.json", root =>
        {
            var scaling = root["rope_scaling"]!.AsObject();
            root.Remove("rope_scaling");
            scaling["rope_theta"] = root["rope_theta"]!.GetValue<double>();
            root.Remove("rope_theta");
            root["rope_parameters"] = scaling;
        });
        Assert.Equal(old.Rope with { LongFactors = [], ShortFactors = [] }, Config(copy).Rope with { LongFactors = [], ShortFactors = [] });
        Assert.Equal((500000, RopeScalingType.Llama3, 64), (old.Rope.Theta, old.Rope.Scaling, old.Rope.OriginalContext));
    }

    [Fact]
    public void Absent_keys_have_the_defaults_of_the_class()
    {
        using var copy = new CheckpointCopy(TestData.Local("checkpoints/gemma2-bf16"));
        foreach (var key in (string[])["rms_norm_eps", "rope_theta", "attn_logit_softcapping", "final_logit_softcapping", "sliding_window", "query_pre_attn_scalar", "max_position_embeddings"])
        {
            copy.Config(key, null);
        }

        var config = Config(copy);
        Assert.Equal((1e-6, 10000.0, 50, 30, 4096, 256, 8192),
            (config.RmsEpsilon, config.Rope.Theta, config.AttentionSoftCap, config.OutputSoftCap, config.SlidingWindow, config.AttentionScalar, config.Context));
        Assert.Equal([true, false, true, false], config.LayerIsWindowed);
        Assert.True(config.TiesEmbeddings);
    }

    [Fact]
    public void Every_tensor_has_its_role()
    {
        using var checkpoint = Checkpoint.Open(TestData.Local("checkpoints/phi3-longrope-f16")).Value;
        Assert.Equal(3 + (2 * 6), checkpoint.Tensors.Count);
        var stacked = checkpoint.Tensors.Single(tensor => tensor is { Role: TensorRole.QueryKeyValue, Layer: 1 });
        Assert.Equal("model.layers.1.self_attn.qkv_proj.weight", stacked.Source.Name);
        Assert.Equal([128, 64], stacked.Source.Shape);
    }

    [Fact]
    public void A_model_card_is_read_without_aliases_and_depth()
    {
        var card = ModelCard.Parse("---\nlicense: mit\nlanguage:\n- en\n- no\nbase_model: a/b\nempty:\n---\n# text");
        Assert.Equal("mit", card.Text("license"));
        Assert.Equal(["en", "no"], card.List("language"));
        Assert.True(card.Has("empty"));
        Assert.Null(card.Text("empty"));
        Assert.False(ModelCard.Parse("---\na: &x [1]\nb: *x\n---\n").Has("a"));
        Assert.False(ModelCard.Parse($"---\na: {new string('[', 5000)}\n---\n").Has("a"));
        Assert.False(ModelCard.Parse("---\na: : :\n---\n").Has("a"));
        Assert.False(ModelCard.Parse("no front matter").Has("license"));
        Assert.False(ModelCard.Parse("---\nnever: closed\n").Has("never"));
    }

    private static CheckpointConfig Config(CheckpointCopy copy)
    {
        using var checkpoint = Checkpoint.Open(copy.Path).Value;
        return checkpoint.Config;
    }
}
