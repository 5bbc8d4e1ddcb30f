namespace EdgeFarm.ModelFormats.Onnx;

/// <summary>Text from a model, made fit for a message.</summary>
internal static class OnnxText
{
    private const int MaxShown = 120;

    /// <summary>A name cut to a length that cannot flood a log, with control characters replaced.</summary>
    public static string Clip(string text)
    {
        var shown = text.Length <= MaxShown ? text : string.Concat(text.AsSpan(0, MaxShown), "...");
        return shown.Any(char.IsControl) ? string.Concat(shown.Select(c => char.IsControl(c) ? '?' : c)) : shown;
    }
}
