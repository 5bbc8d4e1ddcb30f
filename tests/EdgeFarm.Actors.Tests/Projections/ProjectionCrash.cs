using System.Diagnostics;
using EdgeFarm.Actors.Tests.Farm;

namespace EdgeFarm.Actors.Tests.Projections;

/// <summary>The child process: a whole farm whose projection kills the process when rows are written and the offset is not.</summary>
internal static class ProjectionCrash
{
    public static async Task<int> RunAsync(string directory)
    {
        var batches = 0;
        await using var farm = await TestFarm.StartAsync(directory, configure: o => o with
        {
            RowsWritten = () =>
            {
                if (++batches == 2)
                {
                    Process.GetCurrentProcess().Kill();
                }

                return Task.CompletedTask;
            },
        });
        await using var worker = await TestWorker.StartAsync("w1", farm.Url, new TestRunner(), directory);
        await farm.Farm.SubmitAsync(TestPlans.Submission("s-1"), default);
        await farm.FinishAsync("s-1");
        await farm.Queries.CaughtUpAsync(default);
        return 0;
    }
}
