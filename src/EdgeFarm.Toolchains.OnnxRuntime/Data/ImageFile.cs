using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using EdgeFarm.Core.Jobs;
using JpegLibrary;

namespace EdgeFarm.Toolchains.OnnxRuntime.Data;

/// <summary>A decoded picture.</summary>
/// <param name="Width">Pixels in a row.</param>
/// <param name="Height">Rows.</param>
/// <param name="Rgb">Red, green, blue of each pixel, row by row. What is transparent keeps its colour.</param>
internal sealed record ImageFile(int Width, int Height, byte[] Rgb)
{
    // A picture of a few kilobytes may claim billions of pixels.
    private const long MaxPixels = 32L << 20;
    private const long MaxFile = 256L << 20;

    private static ReadOnlySpan<byte> PngSignature => [0x89, (byte)'P', (byte)'N', (byte)'G', 13, 10, 26, 10];

    /// <summary>Decodes a PNG or JPEG file, told apart by content.</summary>
    /// <exception cref="FailureException">InvalidInput: it is neither, or not a sound one.</exception>
    public static ImageFile Load(string path)
    {
        var name = Path.GetFileName(path);
        try
        {
            if (new FileInfo(path).Length > MaxFile)
            {
                throw Invalid(name, $"has more than {MaxFile} bytes");
            }

            var bytes = File.ReadAllBytes(path);
            return bytes.AsSpan().StartsWith(PngSignature) ? Png(bytes, name)
                : bytes.AsSpan().StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]) ? Jpeg(bytes, name)
                : throw Invalid(name, "is neither PNG nor JPEG");
        }
        catch (FailureException)
        {
            throw;
        }
#pragma warning disable CA1031 // The decoders throw whatever an unsound file leads them to.
        catch (Exception e)
#pragma warning restore CA1031
        {
            throw Invalid(name, $"cannot be decoded: {e.Message}");
        }
    }

    private static ImageFile Png(byte[] bytes, string name)
    {
        // The header's place is fixed, so that the size is known before anything is unpacked.
        if (bytes.Length < 24)
        {
            throw Invalid(name, "ends within its header");
        }

        var (width, height) = Size(BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(16)), BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(20)), name);
        var png = BigGustave.Png.Open(bytes);
        var rgb = new byte[width * height * 3];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var pixel = png.GetPixel(x, y);
                var at = ((y * width) + x) * 3;
                (rgb[at], rgb[at + 1], rgb[at + 2]) = (pixel.R, pixel.G, pixel.B);
            }
        }

        return new ImageFile(width, height, rgb);
    }

    private static ImageFile Jpeg(byte[] bytes, string name)
    {
        var decoder = new JpegDecoder();
        decoder.SetInput(bytes);
        decoder.Identify();
        var (width, height) = Size((uint)decoder.Width, (uint)decoder.Height, name);
        if (decoder.Precision != 8 || decoder.NumberOfComponents is not (1 or 3))
        {
            throw new FailureException(Failure.Unsupported($"'{name}' is a JPEG of {decoder.Precision} bits and {decoder.NumberOfComponents} components; 8 bits and 1 or 3 are read"));
        }

        var planes = new byte[width * height * 3];
        decoder.SetOutputWriter(new Planes(width, height, planes));
        decoder.Decode();
        for (var at = 0; at < planes.Length; at += 3)
        {
            if (decoder.NumberOfComponents == 1)
            {
                planes[at + 1] = planes[at + 2] = planes[at];
                continue;
            }

            // JFIF (ITU-T T.871): full-range BT.601.
            double luma = planes[at], blue = planes[at + 1] - 128.0, red = planes[at + 2] - 128.0;
            planes[at] = Byte(luma + (1.402 * red));
            planes[at + 1] = Byte(luma - (0.344136 * blue) - (0.714136 * red));
            planes[at + 2] = Byte(luma + (1.772 * blue));
        }

        return new ImageFile(width, height, planes);
    }

    private static (int Width, int Height) Size(uint width, uint height, string name) =>
        width == 0 || height == 0 || (long)width * height > MaxPixels
            ? throw Invalid(name, $"is {width} x {height}; 1 to {MaxPixels} pixels are read")
            : ((int)width, (int)height);

    private static byte Byte(double value) => (byte)Math.Clamp(Math.Round(value), 0, 255);

    private static FailureException Invalid(string name, string what) => new(Failure.InvalidInput($"image '{name}' {what}"));

    // Takes blocks of 8 x 8 values of one component; those at the right and the bottom reach over the edge.
    private sealed class Planes(int width, int height, byte[] target) : JpegBlockOutputWriter
    {
        public override void WriteBlock(ref short blockRef, int componentIndex, int x, int y)
        {
            for (var row = 0; row < Math.Min(8, height - y); row++)
            {
                for (var column = 0; column < Math.Min(8, width - x); column++)
                {
                    target[((((y + row) * width) + x + column) * 3) + componentIndex] = (byte)Math.Clamp((int)Unsafe.Add(ref blockRef, (row * 8) + column), 0, 255);
                }
            }
        }
    }
}
