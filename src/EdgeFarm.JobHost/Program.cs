using EdgeFarm.Toolchains;
using EdgeFarm.Toolchains.JobHosts;

return JobHostProgram.Run(args, new EngineRegistry());
