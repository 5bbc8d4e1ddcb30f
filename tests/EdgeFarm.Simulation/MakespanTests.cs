namespace EdgeFarm.Simulation;

public sealed class MakespanTests
{
    public static TheoryData<Mix> Mixes =>
    [
        new(Hosts: 1, Slots: 4, Sweeps: 1, Models: 4, Forms: 6, Classes: 1),
        new(Hosts: 2, Slots: 4, Sweeps: 1, Models: 4, Forms: 6, Classes: 1),
        new(Hosts: 4, Slots: 4, Sweeps: 2, Models: 6, Forms: 6, Classes: 2),
        new(Hosts: 6, Slots: 4, Sweeps: 2, Models: 9, Forms: 6, Classes: 1),
        new(Hosts: 8, Slots: 8, Sweeps: 3, Models: 8, Forms: 8, Classes: 4),
    ];

    [Theory]
    [MemberData(nameof(Mixes))]
    public void A_mixed_load_takes_at_most_a_tenth_more_than_it_must(Mix mix)
    {
        var (taken, ideal) = Makespan.Run(mix);
        Assert.InRange(taken / ideal, 1 - 1e-9, 1.10);
    }
}
