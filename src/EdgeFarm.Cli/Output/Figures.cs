using System.Globalization;
using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Output;

/// <summary>Figures as people read them.</summary>
internal static class Figures
{
    /// <summary>Bytes with a binary unit and three digits.</summary>
    public static string Bytes(double bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        var unit = 0;
        while (bytes >= 1000 && unit < units.Length - 1)
        {
            bytes /= 1024;
            unit++;
        }

        return $"{Digits(bytes)} {units[unit]}";
    }

    /// <summary>Seconds with a unit and three digits.</summary>
    public static string Seconds(double seconds) =>
        seconds >= 1 ? $"{Digits(seconds)} s" : seconds >= 1e-3 ? $"{Digits(seconds * 1e3)} ms" : $"{Digits(seconds * 1e6)} us";

    /// <summary>Three significant digits without an exponent.</summary>
    public static string Digits(double value)
    {
        var magnitude = Math.Abs(value);
        var format = magnitude >= 100 || magnitude == 0 ? "0" : magnitude >= 10 ? "0.0" : magnitude >= 1 ? "0.00" : magnitude >= 0.001 ? "0.0000" : "0.00E+0";
        return value.ToString(format, CultureInfo.InvariantCulture);
    }

    /// <summary>A metric's value in its unit.</summary>
    public static string Value(Metric metric) => metric.Unit switch
    {
        "bytes" => Bytes(metric.Value),
        "s" => Seconds(metric.Value),
        "1" => metric.Value.ToString(Math.Abs(metric.Value) < 10 ? "0.0000" : "0.000", CultureInfo.InvariantCulture),
        "dB" => metric.Value.ToString("0.0", CultureInfo.InvariantCulture),
        _ => Digits(metric.Value),
    };

    /// <summary>The spread of a metric's samples as a share of its mean, or empty when there is none.</summary>
    public static string Spread(Metric metric) =>
        metric is { HasStddev: true, HasMean: true, N: > 1 } && metric.Mean != 0 && metric.Stddev > 0
            ? string.Create(CultureInfo.InvariantCulture, $" ±{Math.Abs(metric.Stddev / metric.Mean) * 100:0.#} %")
            : "";

    /// <summary>A duration in the largest units that tell it.</summary>
    public static string Duration(TimeSpan time) =>
        time.TotalSeconds < 60 ? string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0} s")
        : time.TotalHours < 1 ? $"{(int)time.TotalMinutes} min {time.Seconds} s"
        : $"{(int)time.TotalHours} h {time.Minutes} min";

    /// <summary>Reads a duration: a number of seconds, or one with s, m or h. Null when it is none.</summary>
    public static TimeSpan? ReadDuration(string text)
    {
        var factor = text.Length == 0 ? 0 : text[^1] switch { 'h' => 3600, 'm' => 60, 's' => 1, _ => 0 };
        var number = factor == 0 ? text : text[..^1];
        return double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) && value is >= 0 and <= 1e7
            ? TimeSpan.FromSeconds(value * Math.Max(1, factor))
            : null;
    }
}
