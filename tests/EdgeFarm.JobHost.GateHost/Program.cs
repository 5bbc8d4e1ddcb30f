using EdgeFarm.JobHost.GateHost;
using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;
using EdgeFarm.Toolchains.LlamaCpp;

// The job host with the real llama.cpp, but jobs wait at a gate that the test opens, so that a kill surely meets a job that runs.
return JobHostProgram.Run(args, new EngineRegistry((LlamaCppDescriptor.Id, () => new GatedEngine(new LlamaCppEngine()))));
