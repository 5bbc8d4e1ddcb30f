using System.Globalization;

namespace EdgeFarm.Core.Jobs;

/// <summary>
/// The name of a group of benchmarks, taken apart: <c>model|runtime|target|number</c>, and after a lost device <c>+round</c>.
/// Groups of one stem and another number measure on different devices of one target; only the last round of a number counts.
/// </summary>
/// <param name="Stem">Model, runtime and target.</param>
/// <param name="Number">Number of the device within the target.</param>
/// <param name="Round">0 at first, one more after each lost device.</param>
internal readonly record struct DeviceGroup(string Stem, string Number, int Round)
{
    public static DeviceGroup Parse(string name)
    {
        var bar = name.LastIndexOf('|');
        var (stem, last) = bar < 0 ? ("", name) : (name[..bar], name[(bar + 1)..]);
        var plus = last.LastIndexOf('+');
        return plus > 0 && int.TryParse(last.AsSpan(plus + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var round)
            ? new DeviceGroup(stem, last[..plus], round)
            : new DeviceGroup(stem, last, 0);
    }

    /// <summary>The name of a later round.</summary>
    public string Name(int round) =>
        (Stem.Length == 0 ? Number : $"{Stem}|{Number}") + (round == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"+{round}"));
}
