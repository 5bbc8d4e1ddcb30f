using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;
using EdgeFarm.Toolchains.LlamaCpp;

return JobHostProgram.Run(args, new EngineRegistry((LlamaCppDescriptor.Id, () => new LlamaCppEngine())));
