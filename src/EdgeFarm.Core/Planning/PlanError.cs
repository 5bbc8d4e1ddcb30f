namespace EdgeFarm.Core.Planning;

/// <summary>One thing in a sweep that cannot be planned.</summary>
/// <param name="Path">Where in the sweep's <c>spec</c>, e.g. <c>recipes[1].passes[0].block_size</c>.</param>
/// <param name="Message">What is wrong and what is accepted.</param>
public sealed record PlanError(string Path, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Path}: {Message}";
}
