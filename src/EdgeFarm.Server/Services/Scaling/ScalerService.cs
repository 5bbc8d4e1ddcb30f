using System.Collections.Immutable;
using System.Globalization;
using EdgeFarm.Actors;
using EdgeFarm.Contracts.Keda;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Core.Planning;
using Grpc.Core;

namespace EdgeFarm.Server.Services.Scaling;

/// <summary>
/// KEDA's external scaler: how many jobs wait for, or run on, workers of a device class. It keeps nothing between calls, because KEDA
/// asks the coordinators in turn. While the dispatcher cannot be reached every call ends in UNAVAILABLE, on which KEDA leaves the workers
/// as they are; a 0 would stop them.
/// </summary>
internal sealed class ScalerService(IFarm farm, ToolchainCatalog catalog, FarmMetrics metrics, TimeProvider time) : ExternalScaler.ExternalScalerBase
{
    /// <summary>Metadata: the class whose workers the ScaledObject scales.</summary>
    internal const string ClassKey = "deviceClass";

    /// <summary>Metadata: a worker template for every class that is scaled, one a line; the same text in every ScaledObject.</summary>
    internal const string TemplatesKey = "workers";

    /// <summary>Metadata: jobs that one pod is for; a pod's slots are a good choice.</summary>
    internal const string JobsPerWorkerKey = "jobsPerWorker";

    private const string MetricPrefix = "edgefarm-jobs-";
    private const int MaxJobsPerWorker = 10_000;

    /// <summary>How often a stream looks whether there is work; KEDA starts the first pod after that.</summary>
    private static readonly TimeSpan StreamInterval = TimeSpan.FromSeconds(2);

    public override async Task<IsActiveResponse> IsActive(ScaledObjectRef request, ServerCallContext context) =>
        new() { Result = (await CountAsync(request, context.CancellationToken)).Jobs > 0 };

    public override async Task StreamIsActive(ScaledObjectRef request, IServerStreamWriter<IsActiveResponse> responseStream, ServerCallContext context)
    {
        bool? last = null;
        using var timer = new PeriodicTimer(StreamInterval, time);
        do
        {
            var active = (await CountAsync(request, context.CancellationToken)).Jobs > 0;
            if (active != last)
            {
                await responseStream.WriteAsync(new IsActiveResponse { Result = active }, context.CancellationToken);
                last = active;
            }
        }
        while (await timer.WaitForNextTickAsync(context.CancellationToken));
    }

    public override Task<GetMetricSpecResponse> GetMetricSpec(ScaledObjectRef request, ServerCallContext context)
    {
        var metadata = ScalerMetadata.Read(request, catalog);
        return Task.FromResult(new GetMetricSpecResponse
        {
            MetricSpecs = { new MetricSpec { MetricName = MetricPrefix + metadata.DeviceClass, TargetSize = metadata.JobsPerWorker, TargetSizeFloat = metadata.JobsPerWorker } },
        });
    }

    public override async Task<GetMetricsResponse> GetMetrics(GetMetricsRequest request, ServerCallContext context)
    {
        var scaled = request.ScaledObjectRef ?? throw RpcErrors.Invalid("scaledObjectRef", "is missing");
        var demand = await CountAsync(scaled, context.CancellationToken);
        var name = MetricPrefix + demand.DeviceClass;
        if (request.MetricName.Length > 0 && request.MetricName != name)
        {
            throw RpcErrors.Invalid("metricName", $"there is no metric '{request.MetricName}' of this ScaledObject; its metric is '{name}'");
        }

        return new GetMetricsResponse
        {
            MetricValues = { new MetricValue { MetricName = name, MetricValue_ = demand.Jobs, MetricValueFloat = demand.Jobs } },
        };
    }

    private async Task<ClassDemand> CountAsync(ScaledObjectRef scaled, CancellationToken cancellationToken)
    {
        var metadata = ScalerMetadata.Read(scaled, catalog);
        var demand = await farm.DemandAsync(metadata.Templates, cancellationToken);
        metrics.Observe(demand, time.GetUtcNow());
        return demand.Find(metadata.DeviceClass)!;
    }

    /// <summary>A trigger's metadata, checked.</summary>
    private sealed record ScalerMetadata(string DeviceClass, ImmutableArray<WorkerTemplate> Templates, int JobsPerWorker)
    {
        public static ScalerMetadata Read(ScaledObjectRef scaled, ToolchainCatalog catalog)
        {
            var metadata = scaled.ScalerMetadata;
            var name = Need(ClassKey, "name the device class that the Deployment is for");
            var templates = WorkerTemplate.ParseAll(Need(TemplatesKey, "write a worker template for every class that is scaled, one a line"), catalog);
            if (!templates.IsOk)
            {
                throw RpcErrors.Invalid(TemplatesKey, templates.Failure!.Message);
            }

            if (templates.Value.All(t => t.DeviceClass != name))
            {
                throw RpcErrors.Invalid(ClassKey, $"'{name}' has no line in '{TemplatesKey}'; there are: {string.Join(", ", templates.Value.Select(t => t.DeviceClass))}");
            }

            var jobs = 1;
            if (metadata.TryGetValue(JobsPerWorkerKey, out var text)
                && !(int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out jobs) && jobs is >= 1 and <= MaxJobsPerWorker))
            {
                throw RpcErrors.Invalid(JobsPerWorkerKey, $"must be 1 to {MaxJobsPerWorker}, not '{text}'");
            }

            return new ScalerMetadata(name, templates.Value, jobs);

            string Need(string key, string hint) => metadata.TryGetValue(key, out var value) && value.Length > 0
                ? value
                : throw RpcErrors.Invalid(key, $"the trigger's metadata of ScaledObject '{scaled.Namespace}/{scaled.Name}' lacks it; {hint}");
        }
    }
}
