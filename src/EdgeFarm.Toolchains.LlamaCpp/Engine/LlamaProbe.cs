using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>Tells which llama.cpp there is on this machine and what it can compute on.</summary>
public static class LlamaProbe
{
    /// <summary>
    /// Loads the library and lists its devices. Unsupported when there is none for this platform, or when it is a build that this
    /// binding does not know.
    /// </summary>
    /// <param name="libraryPath">Directory or libllama file of a build; null takes <c>EDGEFARM_LLAMA_LIB</c>, else the packaged one.</param>
    /// <param name="hooks">Where the log goes; null for nowhere.</param>
    public static Outcome<LlamaLibraryInfo> Run(string? libraryPath = null, LlamaHooks? hooks = null) =>
        LlamaLibrary.Run(libraryPath, hooks ?? LlamaHooks.None, (library, _) =>
        {
            library.LoadAccelerators();
            return library.Info with { Devices = library.QueryDevices() };
        });
}
