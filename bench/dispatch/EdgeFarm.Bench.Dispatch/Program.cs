using EdgeFarm.Bench.Dispatch;

return args switch
{
    ["coordinator", var connection, var port, var ports] => await BenchPeers.RunAsync(connection, int.Parse(port), [.. ports.Split(',').Select(int.Parse)]),
    ["worker", var farm, var workers, var slots, var directory] => await BenchWorkers.RunAsync([.. farm.Split(',').Select(u => new Uri(u))], int.Parse(workers), int.Parse(slots), directory),
    ["hold", var connection, var jobs] => await BenchRecovery.HoldAsync(connection, int.Parse(jobs)),
    ["recover", var connection, var sweep, var jobs] => await BenchRecovery.RecoverAsync(connection, sweep, int.Parse(jobs)),
    ["run", .. var rest] => await BenchRun.RunAsync(BenchOptions.Parse(rest)),
    _ => BenchOptions.Usage(),
};
