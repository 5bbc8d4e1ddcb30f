using EdgeFarm.Bench.Dispatch;

return args switch
{
    ["worker", var farm, var workers, var slots, var directory] => await BenchWorkers.RunAsync(new Uri(farm), int.Parse(workers), int.Parse(slots), directory),
    ["run", .. var rest] => await BenchRun.RunAsync(BenchOptions.Parse(rest)),
    _ => BenchOptions.Usage(),
};
