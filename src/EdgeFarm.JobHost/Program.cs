using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;
using EdgeFarm.Toolchains.LlamaCpp;
using EdgeFarm.Toolchains.OnnxRuntime;

return JobHostProgram.Run(
    args,
    new EngineRegistry(
        (LlamaCppDescriptor.Id, () => new LlamaCppEngine()),
        (OnnxRuntimeDescriptor.Id, () => new OnnxRuntimeEngine())));
