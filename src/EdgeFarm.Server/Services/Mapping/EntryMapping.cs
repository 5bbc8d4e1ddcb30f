using EdgeFarm.Core.Leaderboard;
using Google.Protobuf.WellKnownTypes;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services.Mapping;

/// <summary>Leaderboard entries as the public API says them.</summary>
internal static class EntryMapping
{
    /// <summary>An entry; without <paramref name="full"/> samples, environment and reports stay away.</summary>
    public static Wire.Entry ToWire(this LeaderboardEntry entry, bool full)
    {
        var wire = new Wire.Entry
        {
            Id = entry.Id,
            Sweep = entry.Sweep,
            Model = entry.Model,
            Toolchain = entry.Toolchain,
            Runtime = entry.Runtime,
            Form = entry.Form,
            Baseline = entry.Baseline,
            BaselineId = entry.BaselineId,
            Target = entry.Target,
            Host = entry.Host,
            Worker = entry.Worker,
            Device = entry.Device,
            DeviceClass = entry.DeviceClass,
            Artifact = entry.Artifact?.Digest.ToString() ?? "",
            ArtifactInfo = entry.Artifact?.ToWire(),
            PrecisionClass = entry.PrecisionClass,
            ToolchainVersion = entry.ToolchainVersion,
            RuntimeVersion = entry.RuntimeVersion,
            Library = new Wire.Library { Variant = entry.LibraryVariant, Digest = entry.LibraryDigest },
            MeasuredAt = entry.MeasuredAt?.ToTimestamp(),
            Attempts = entry.Attempts,
            Cached = entry.Cached,
            Failure = entry.Failure?.ToWire(),
            Pareto = entry.Pareto,
        };
        if (entry.BitsPerWeight is { } bits && double.IsFinite(bits))
        {
            wire.BitsPerWeight = bits;
        }

        wire.Labels.Add(entry.Labels);
        foreach (var step in entry.Recipe)
        {
            var pass = new Wire.PassStep { Type = step.Type };
            pass.Parameters.Add(step.Parameters);
            wire.Recipe.Add(pass);
        }

        wire.Settings.Add(entry.Settings);
        wire.Flags.Add(entry.Flags);
        wire.Warnings.Add(entry.Warnings);
        wire.Relative.Add(entry.Relative.Where(r => double.IsFinite(r.Value)).ToDictionary(r => r.Key, r => r.Value));
        foreach (var (name, metric) in entry.Metrics.Where(m => double.IsFinite(m.Value.Value)))
        {
            wire.Metrics[name] = metric.ToWire(full);
        }

        if (full)
        {
            entry.Environment.CopyTo(wire.Environment);
            wire.Reports.Add(entry.Reports);
        }

        return wire;
    }

    private static Wire.Metric ToWire(this MetricValue metric, bool full)
    {
        var wire = new Wire.Metric { Value = metric.Value, Unit = metric.Unit, Better = (Wire.Better)metric.Better, N = metric.N, By = metric.By };
        Set(metric.Mean, v => wire.Mean = v);
        Set(metric.StdDev, v => wire.Stddev = v);
        Set(metric.P50, v => wire.P50 = v);
        Set(metric.P90, v => wire.P90 = v);
        Set(metric.P95, v => wire.P95 = v);
        Set(metric.P99, v => wire.P99 = v);
        if (metric is { Ci95Low: { } low, Ci95High: { } high } && double.IsFinite(low) && double.IsFinite(high))
        {
            wire.Ci95.Add(low);
            wire.Ci95.Add(high);
        }

        if (full)
        {
            wire.Samples.Add(metric.Samples);
        }

        return wire;
    }

    // Nothing that is not finite leaves the farm: JSON cannot say it, and an absent figure says the same.
    private static void Set(double? value, Action<double> set)
    {
        if (value is { } number && double.IsFinite(number))
        {
            set(number);
        }
    }
}
