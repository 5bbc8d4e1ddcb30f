using EdgeFarm.ModelFormats.Npy;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>What is done to an image before a model sees it: <c>(pixel * scale - mean) / std</c> for each channel, after resizing.</summary>
public sealed record ImagePreprocessing
{
    /// <summary>Height and width that the model takes.</summary>
    public required int[] Size { get; init; }

    /// <summary><c>stretch</c> to the size; <c>crop</c>: the shorter side to the size, then the middle; <c>letterbox</c>: all of it, with black around.</summary>
    public string Resize { get; init; } = "stretch";

    /// <summary><c>rgb</c>, <c>bgr</c> or <c>gray</c> (0.299 R + 0.587 G + 0.114 B).</summary>
    public string Channels { get; init; } = "rgb";

    /// <summary><c>nchw</c> or <c>nhwc</c>.</summary>
    public string Layout { get; init; } = "nchw";

    /// <summary>What a pixel from 0 to 255 is multiplied by.</summary>
    public double Scale { get; init; } = 1.0 / 255;

    /// <summary>Taken off after scaling, per channel in the order of <see cref="Channels"/>, or one for all.</summary>
    public double[] Mean { get; init; } = [0];

    /// <summary>Divided by, as <see cref="Mean"/>.</summary>
    public double[] Std { get; init; } = [1];
}

/// <summary>Images (PNG, JPEG) as a model takes them. One is in memory at a time.</summary>
internal sealed class ImageSamples(IReadOnlyList<string> paths, string input, ImagePreprocessing how) : SampleSet
{
    private int Height => how.Size[0];

    private int Width => how.Size[1];

    private int ChannelCount => how.Channels == "gray" ? 1 : 3;

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => [input];

    /// <inheritdoc/>
    public override IReadOnlyList<long> ShapeOf(string name) => how.Layout == "nchw" ? [paths.Count, ChannelCount, Height, Width] : [paths.Count, Height, Width, ChannelCount];

    /// <inheritdoc/>
    public override NpyArray Read(string name, int first, int count)
    {
        var size = ChannelCount * Height * Width;
        var values = new float[count * size];
        for (var i = 0; i < count; i++)
        {
            Fill(paths[first + i], values.AsSpan(i * size, size));
        }

        return NpyArray.Of([count, .. ShapeOf(name).Skip(1)], values);
    }

    private void Fill(string path, Span<float> values)
    {
        var bitmap = ImageFile.Load(path);
        var (x, y, width, height) = Placement(bitmap.Width, bitmap.Height);
        var pixels = bitmap.Rgb.AsSpan();
        Span<double> rgb = stackalloc double[3];
        for (var row = 0; row < Height; row++)
        {
            for (var column = 0; column < Width; column++)
            {
                // Where a pixel's middle falls in the picture; outside of it is the letterbox.
                var (sourceX, sourceY) = ((column + 0.5 - x) * bitmap.Width / width, (row + 0.5 - y) * bitmap.Height / height);
                rgb.Clear();
                if (sourceX >= 0 && sourceX < bitmap.Width && sourceY >= 0 && sourceY < bitmap.Height)
                {
                    Interpolate(pixels, bitmap.Width, bitmap.Height, sourceX - 0.5, sourceY - 0.5, rgb);
                }

                Store(values, row, column, rgb);
            }
        }
    }

    // Where the whole picture lies in the model's input.
    private (double X, double Y, double Width, double Height) Placement(int width, int height)
    {
        if (how.Resize == "stretch")
        {
            return (0, 0, Width, Height);
        }

        var (horizontal, vertical) = ((double)Width / width, (double)Height / height);
        var scale = how.Resize == "crop" ? Math.Max(horizontal, vertical) : Math.Min(horizontal, vertical);
        return ((Width - (width * scale)) / 2, (Height - (height * scale)) / 2, width * scale, height * scale);
    }

    // Bilinear, edges repeated.
    private static void Interpolate(ReadOnlySpan<byte> pixels, int width, int height, double x, double y, Span<double> rgb)
    {
        var (left, top) = ((int)Math.Floor(x), (int)Math.Floor(y));
        var (right, below) = (x - left, y - top);
        for (var corner = 0; corner < 4; corner++)
        {
            var column = Math.Clamp(left + (corner & 1), 0, width - 1);
            var row = Math.Clamp(top + (corner >> 1), 0, height - 1);
            var weight = ((corner & 1) == 0 ? 1 - right : right) * ((corner >> 1) == 0 ? 1 - below : below);
            var at = ((row * width) + column) * 3;
            for (var channel = 0; channel < 3; channel++)
            {
                rgb[channel] += weight * pixels[at + channel];
            }
        }
    }

    private void Store(Span<float> values, int row, int column, ReadOnlySpan<double> rgb)
    {
        for (var channel = 0; channel < ChannelCount; channel++)
        {
            var pixel = how.Channels switch
            {
                "gray" => (0.299 * rgb[0]) + (0.587 * rgb[1]) + (0.114 * rgb[2]),
                "bgr" => rgb[2 - channel],
                _ => rgb[channel],
            };
            var value = ((pixel * how.Scale) - how.Mean[how.Mean.Length == 1 ? 0 : channel]) / how.Std[how.Std.Length == 1 ? 0 : channel];
            var at = how.Layout == "nchw" ? (((channel * Height) + row) * Width) + column : (((row * Width) + column) * ChannelCount) + channel;
            values[at] = (float)value;
        }
    }
}
