namespace EdgeFarm.Simulation;

/// <summary>Virtual time: what is due next runs next; what is due at the same time runs in the order in which it was planned.</summary>
internal sealed class Scheduler
{
    private readonly PriorityQueue<Action, (long Ticks, long Order)> _due = new();
    private long _order;

    public static DateTimeOffset Start { get; } = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public DateTimeOffset Now { get; private set; } = Start;

    public TimeSpan Elapsed => Now - Start;

    public long Steps { get; private set; }

    public void After(TimeSpan delay, Action action) => At(Now + delay, action);

    public void At(DateTimeOffset time, Action action) => _due.Enqueue(action, ((time < Now ? Now : time).UtcTicks, _order++));

    /// <summary>Runs the next action; false when nothing is due.</summary>
    public bool Step()
    {
        if (!_due.TryDequeue(out var action, out var due))
        {
            return false;
        }

        Now = new DateTimeOffset(due.Ticks, TimeSpan.Zero);
        Steps++;
        action();
        return true;
    }
}
