namespace EdgeFarm.Actors.Projections;

/// <summary>Wakes those who wait for the projection of this process to commit.</summary>
internal sealed class ProjectionSignal
{
    private TaskCompletionSource _next = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes at the next commit.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    public void Committed() =>
        Interlocked.Exchange(ref _next, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
