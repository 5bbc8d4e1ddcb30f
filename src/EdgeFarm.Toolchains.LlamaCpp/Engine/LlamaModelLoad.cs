using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>What the library says about a model that it has loaded.</summary>
/// <param name="Description">Architecture, size and type in the library's words.</param>
/// <param name="Parameters">Number of weights.</param>
/// <param name="TensorBytes">Bytes of all tensors.</param>
/// <param name="VocabSize">Entries of the vocabulary.</param>
public sealed record LlamaModelInfo(string Description, long Parameters, long TensorBytes, int VocabSize);

/// <summary>Loads models only to see whether they load.</summary>
public static class LlamaModelLoad
{
    /// <summary>
    /// Checks a file as every operation does, loads it with all blocks validated, and lets it go. InvalidInput, Unsupported or OutOfMemory.
    /// </summary>
    /// <param name="path">A GGUF model.</param>
    /// <param name="libraryPath">Another build of llama.cpp; null for the environment's or the packaged one.</param>
    /// <param name="hooks">Log, progress, cancellation.</param>
    public static Outcome<LlamaModelInfo> Run(string path, string? libraryPath = null, LlamaHooks? hooks = null) =>
        LlamaLibrary.Run(libraryPath, hooks ?? LlamaHooks.None, (library, log) =>
        {
            GgufModelCheck.Read(path, library.Abi.MaxLayers);
            using var model = LlamaModel.Load(library, log, path, new ModelPlacement(), hooks ?? LlamaHooks.None, checkTensors: true);
            return new LlamaModelInfo(model.Description, model.Parameters, model.Size, model.VocabSize);
        });
}
