using EdgeFarm.Actors;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace EdgeFarm.Server.Hosting;

/// <summary>Sends traces, and a coordinator's metrics, to an OpenTelemetry collector: that of a setting, else that of the standard variable.</summary>
internal static class OtlpExport
{
    /// <summary>The standard variable; the others of OpenTelemetry (protocol, headers, sampler, batches) count too.</summary>
    public const string EndpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// <summary>Adds it to a coordinator; nothing without a collector.</summary>
    public static void AddOtlpExport(this IServiceCollection services, Uri? collector)
    {
        if (HasCollector(collector))
        {
            services.ConfigureOpenTelemetryMeterProvider(metrics => metrics.AddOtlpExporter(otlp => Set(otlp, collector)));
            services.AddTraces(collector);
        }
    }

    /// <summary>Adds it to a worker; nothing without a collector.</summary>
    public static void AddOtlpExport(this IServiceCollection services, Uri? collector, string worker)
    {
        if (HasCollector(collector))
        {
            services.AddOpenTelemetry().ConfigureResource(r => r.AddService("edgefarm-worker", serviceInstanceId: worker));
            services.AddTraces(collector);
        }
    }

    private static void AddTraces(this IServiceCollection services, Uri? collector) =>
        services.AddOpenTelemetry().WithTracing(traces => traces.AddSource(FarmTraces.SourceName).AddOtlpExporter(otlp => Set(otlp, collector)));

    private static bool HasCollector(Uri? collector) =>
        collector is not null || !string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable(EndpointVariable));

    private static void Set(OtlpExporterOptions otlp, Uri? collector)
    {
        // Without a setting the exporter reads the variables itself.
        if (collector is not null)
        {
            (otlp.Endpoint, otlp.Protocol) = (collector, OtlpExportProtocol.Grpc);
        }
    }
}
