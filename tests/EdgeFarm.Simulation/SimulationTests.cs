namespace EdgeFarm.Simulation;

public sealed class SimulationTests
{
    /// <summary>Seeds run by every test run; the command runs as many as one likes.</summary>
    private const int Seeds = 2000;

    [Fact]
    public void Every_seed_keeps_every_invariant()
    {
        Verdict? failed = null;
        var gate = new Lock();
        Parallel.For(1, Seeds + 1, (seed, loop) =>
        {
            var verdict = World.Run((ulong)seed);
            if (verdict.Violation is not null)
            {
                lock (gate)
                {
                    failed = failed is null || verdict.Seed < failed.Seed ? verdict : failed;
                }

                loop.Stop();
            }
        });
        Assert.True(failed is null, $"seed {failed?.Seed}: {failed?.Violation}");
    }

    [Fact]
    public void A_seed_plays_the_same_twice()
    {
        var (first, second) = (new List<string>(), new List<string>());
        for (ulong seed = 1; seed <= 20; seed++)
        {
            World.Run(seed, log: first.Add);
            World.Run(seed, log: second.Add);
        }

        Assert.Equal(first, second);
    }

    public static TheoryData<string> Mutations => [.. Mutation.All.Select(m => m.Name)];

    [Theory]
    [MemberData(nameof(Mutations))]
    public void A_broken_decider_is_caught(string name)
    {
        var mutation = Mutation.All.Single(m => m.Name == name);
        Assert.Contains(Enumerable.Range(1, 200), seed => World.Run((ulong)seed, mutation).Violation is not null);
    }
}
