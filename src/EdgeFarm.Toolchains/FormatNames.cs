namespace EdgeFarm.Toolchains;

/// <summary>Names of model and data formats, as descriptors, requirements and artifacts use them.</summary>
public static class FormatNames
{
    /// <summary>llama.cpp's model file.</summary>
    public const string Gguf = "gguf";

    /// <summary>An ONNX model file.</summary>
    public const string Onnx = "onnx";

    /// <summary>A Hugging Face checkpoint directory.</summary>
    public const string HuggingFace = "hf";

    /// <summary>UTF-8 text.</summary>
    public const string Text = "text";

    /// <summary>NumPy arrays in a zip file.</summary>
    public const string Npz = "npz";

    /// <summary>Anything else.</summary>
    public const string Unknown = "unknown";
}
