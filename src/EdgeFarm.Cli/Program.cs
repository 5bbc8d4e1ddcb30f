using EdgeFarm.Cli;

return await CommandLine.RunAsync(args, Terminal.OfProcess());
