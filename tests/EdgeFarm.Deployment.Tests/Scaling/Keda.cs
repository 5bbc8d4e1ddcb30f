using EdgeFarm.Contracts.Keda;
using EdgeFarm.Core.Fleet;
using Grpc.Core;
using Grpc.Net.Client;

namespace EdgeFarm.Deployment.Tests.Scaling;

/// <summary>
/// KEDA's part: asks the scaler as a gRPC client and sets the replicas of one Deployment, from none to a maximum, by the rules of KEDA
/// and the autoscaler without their delays. On an error it leaves the pods as they are.
/// </summary>
internal sealed class Keda(ScaledFarm farm, WorkerTemplate template, ScaledObjectRef scaled, GatedRunner runner, TimeSpan drain, int maximum) : IAsyncDisposable
{
    private readonly GrpcChannel _channel = GrpcChannel.ForAddress(farm.Grpc);
    private readonly List<Task> _stopping = [];
    private int _started;

    public List<Pod> Pods { get; } = [];

    /// <summary>Every figure that the scaler told.</summary>
    public List<double> Told { get; } = [];

    public ExternalScaler.ExternalScalerClient Scaler => new(_channel);

    /// <summary>Which pod a scale-in takes; Kubernetes asks nobody.</summary>
    public Func<IReadOnlyList<Pod>, Pod?> Victim { get; set; } = pods => pods[^1];

    /// <summary>One poll; returns the number of replicas that it set, or null when the scaler told nothing.</summary>
    public async Task<int?> PollAsync()
    {
        double jobs;
        int desired;
        try
        {
            var spec = (await Scaler.GetMetricSpecAsync(scaled)).MetricSpecs.Single();
            var values = await Scaler.GetMetricsAsync(new GetMetricsRequest { ScaledObjectRef = scaled, MetricName = spec.MetricName });
            jobs = values.MetricValues.Single(v => v.MetricName == spec.MetricName).MetricValueFloat;
            var active = (await Scaler.IsActiveAsync(scaled)).Result;
            desired = active ? Math.Clamp((int)Math.Ceiling(jobs / spec.TargetSizeFloat), 1, maximum) : 0;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable)
        {
            return null;
        }

        Told.Add(jobs);
        while (Pods.Count < desired)
        {
            Pods.Add(await Pod.StartAsync(farm, template, $"pod-{++_started}", runner, drain));
        }

        while (Pods.Count > desired)
        {
            Delete(Victim(Pods) ?? throw new InvalidOperationException($"{desired} of {Pods.Count} pods should stay, and the one to go is gone; told: {string.Join(", ", Told.TakeLast(20))}"));
        }

        return desired;
    }

    /// <summary>Asks a pod to stop; it goes when it has drained.</summary>
    public void Delete(Pod pod)
    {
        Pods.Remove(pod);
        _stopping.Add(Task.Run(async () => await pod.DisposeAsync()));
    }

    /// <summary>Completes when every pod that was asked to stop is gone.</summary>
    public Task StoppedAsync() => Task.WhenAll(_stopping);

    public async Task UntilAsync(Func<int?, bool> condition, string what)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (!condition(await PollAsync()))
        {
            try
            {
                await timer.WaitForNextTickAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"not within 10 min: {what}; told: {string.Join(", ", Told.TakeLast(20))}; {Pods.Count} pods");
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var pod in Pods.ToList())
        {
            Delete(pod);
        }

        await StoppedAsync();
        _channel.Dispose();
    }
}
