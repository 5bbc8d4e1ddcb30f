namespace EdgeFarm.ModelFormats.Checkpoints;

/// <summary>What a tensor of a decoder-only transformer is for, whatever its name in a format.</summary>
public enum TensorRole
{
    /// <summary>Token embedding, [vocabulary, hidden].</summary>
    TokenEmbedding,

    /// <summary>Norm before the output, [hidden].</summary>
    OutputNorm,

    /// <summary>Output projection (lm_head), [vocabulary, hidden].</summary>
    Output,

    /// <summary>Norm before attention, [hidden].</summary>
    AttentionNorm,

    /// <summary>Query projection, [heads * head size, hidden].</summary>
    Query,

    /// <summary>Key projection, [key/value heads * head size, hidden].</summary>
    Key,

    /// <summary>Value projection, [key/value heads * head size, hidden].</summary>
    Value,

    /// <summary>Query, key and value projections stacked, [(heads + 2 key/value heads) * head size, hidden].</summary>
    QueryKeyValue,

    /// <summary>Projection of the attention's output, [hidden, heads * head size].</summary>
    AttentionOutput,

    /// <summary>Norm of each query head, [head size].</summary>
    QueryNorm,

    /// <summary>Norm of each key head, [head size].</summary>
    KeyNorm,

    /// <summary>Norm of the attention's output before it is added (Gemma), [hidden].</summary>
    PostAttentionNorm,

    /// <summary>Norm before the feed-forward network, [hidden].</summary>
    FeedForwardNorm,

    /// <summary>Gate projection, [feed-forward, hidden].</summary>
    Gate,

    /// <summary>Up projection, [feed-forward, hidden].</summary>
    Up,

    /// <summary>Gate and up projections stacked, [2 * feed-forward, hidden].</summary>
    GateUp,

    /// <summary>Down projection, [hidden, feed-forward].</summary>
    Down,

    /// <summary>Norm of the feed-forward network's output before it is added (Gemma), [hidden].</summary>
    PostFeedForwardNorm,
}
