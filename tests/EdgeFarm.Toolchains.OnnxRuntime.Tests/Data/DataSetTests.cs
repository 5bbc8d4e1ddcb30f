using EdgeFarm.Core.Jobs;
using EdgeFarm.ModelFormats.Npy;
using EdgeFarm.Toolchains.OnnxRuntime.Data;
using EdgeFarm.Toolchains.OnnxRuntime.Engine;

namespace EdgeFarm.Toolchains.OnnxRuntime.Tests.Data;

public sealed class DataSetTests : IDisposable
{
    // 4 x 2: red green blue white; black (128,64,32) (10,20,30) (200,100,50).
    private const string Png = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAHElEQVR4nGP4z8DAAMZAAKQYGhwUuETkTqQYAQB3eAh1uJgnCwAAAABJRU5ErkJggg==";

    // libjpeg-turbo's pictures of 20 x 12: (220,120,40) at the left, (30,60,200) at the right; baseline, and progressive with halved chroma.
    private const string Jpeg = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAMABQDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDtK/hs/uQ+If2vv+TifEP/AG6f+kkNf7GfRW/5MLk//cx/6lVz+BvGr/k5uP8A+4X/AKZpnmtf0Iflh+lFf895/qYfEP7X3/JxPiH/ALdP/SSGv9jPorf8mFyf/uY/9Sq5/A3jV/yc3H/9wv8A0zTPNa/oQ/LD/9k=";
    private const string Progressive = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wgARCAAMABQDASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAcF/8QAFgEBAQEAAAAAAAAAAAAAAAAABwQG/9oADAMBAAIQAxAAAAHRmtKmsuixg3HX/8QAFxAAAwEAAAAAAAAAAAAAAAAAAAU1EP/aAAgBAQABBQIb0cb0T//EABoRAAAHAAAAAAAAAAAAAAAAAAECBhA0csH/2gAIAQMBAT8BUcQtsFv/xAAaEQABBQEAAAAAAAAAAAAAAAACAQYQNXKy/9oACAECAQE/AWRYnhehj//EABgQAAMBAQAAAAAAAAAAAAAAAAMQgbEA/9oACAEBAAY/AuLMZZi//8QAFxAAAwEAAAAAAAAAAAAAAAAAEGHwAP/aAAgBAQABPyHVqa1H/9oADAMBAAIAAwAAABD33//EABURAQEAAAAAAAAAAAAAAAAAABCh/9oACAEDAQE/EIQ//8QAFBEBAAAAAAAAAAAAAAAAAAAAEP/aAAgBAgEBPxA8f//EABQQAQAAAAAAAAAAAAAAAAAAACD/2gAIAQEAAT8QUMP/2Q==";

    private readonly TemporaryDirectory _directory = new();

    [Fact]
    public void Pictures_are_prepared_as_declared()
    {
        Write("a.png", Png);
        Manifest("""{"kind":"images","preprocessing":{"size":[2,4],"channels":"bgr","mean":[0.5],"std":[0.5,0.25,1]}}""");
        var samples = Open().Samples;
        Assert.Equal([1, 3, 2, 4], samples.ShapeOf(""));
        var values = samples.Read("", 0, 1).ToFloats();
        // Blue first: (v / 255 - 0.5) / 0.5, then green / 0.25, then red.
        Assert.Equal([-1, -1, 1, 1], values[..4]);
        Assert.Equal([-2, 2, -2, 2], values[8..12]);
        Assert.Equal([0.5f, -0.5f, -0.5f, 0.5f], values[16..20]);
        Assert.Equal(((50 / 255f) - 0.5f) / 0.5f, values[7], 5);
    }

    [Fact]
    public void Layout_gray_and_letterbox()
    {
        Write("a.png", Png);
        Manifest("""{"kind":"images","input":"x","preprocessing":{"size":[4,4],"channels":"gray","layout":"nhwc","resize":"letterbox","scale":1}}""");
        var samples = Open().Samples;
        Assert.Equal([1, 4, 4, 1], samples.ShapeOf("x"));
        var values = samples.Read("x", 0, 1).ToFloats();
        Assert.All(values[..4].Concat(values[12..]), v => Assert.Equal(0, v));
        Assert.Equal(0.299 * 255, values[4], 3);
        Assert.Equal(255, values[7], 3);
        Manifest("""{"kind":"images","preprocessing":{"size":[1,1],"channels":"gray","resize":"crop","scale":1}}""");
        // The middle 2 x 2, in the middle of which all four pixels meet.
        var middle = Open().Samples.Read("", 0, 1).ToFloats()[0];
        Assert.Equal((0.587 * 255 + 0.114 * 255 + Gray(128, 64, 32) + Gray(10, 20, 30)) / 4, middle, 3);

        static double Gray(double r, double g, double b) => (0.299 * r) + (0.587 * g) + (0.114 * b);
    }

    [Theory]
    [InlineData(Jpeg, 3)]
    [InlineData(Progressive, 8)]
    public void Jpeg_is_decoded_as_libjpeg_does(string picture, int tolerance)
    {
        Write("a.jpg", picture);
        var image = ImageFile.Load(_directory["a.jpg"]);
        Assert.Equal((20, 12), (image.Width, image.Height));
        Near(image.Rgb.AsSpan(0, 3), 220, 120, 40);
        Near(image.Rgb.AsSpan(image.Rgb.Length - 3, 3), 30, 60, 200);

        void Near(ReadOnlySpan<byte> pixel, params int[] expected)
        {
            for (var i = 0; i < 3; i++)
            {
                Assert.InRange(pixel[i], expected[i] - tolerance, expected[i] + tolerance);
            }
        }
    }

    [Fact]
    public void Unsound_pictures_are_invalid_input()
    {
        foreach (var bytes in new[] { Convert.FromBase64String(Png), Convert.FromBase64String(Jpeg), Convert.FromBase64String(Progressive) })
        {
            for (var length = 0; length < bytes.Length; length += 7)
            {
                File.WriteAllBytes(_directory["x.png"], bytes[..length]);
                AtMostInvalid();
            }

            var random = new Random(7);
            for (var i = 0; i < 200; i++)
            {
                var mutated = bytes.ToArray();
                mutated[random.Next(mutated.Length)] ^= (byte)random.Next(1, 256);
                File.WriteAllBytes(_directory["x.png"], mutated);
                AtMostInvalid();
            }
        }

        // A header that claims 2^30 pixels.
        var huge = Convert.FromBase64String(Png);
        (huge[16], huge[20]) = (0x7F, 0x7F);
        File.WriteAllBytes(_directory["x.png"], huge);
        Assert.Contains("pixels", Assert.Throws<FailureException>(() => ImageFile.Load(_directory["x.png"])).Message, StringComparison.Ordinal);

        void AtMostInvalid()
        {
            try
            {
                ImageFile.Load(_directory["x.png"]);
            }
            catch (FailureException e)
            {
                Assert.Contains(e.Failure.Type, new[] { FailureType.InvalidInput, FailureType.Unsupported });
            }
        }
    }

    [Fact]
    public void Labels_choose_and_order_the_files()
    {
        Directory.CreateDirectory(_directory["pictures"]);
        Write("pictures/b.png", Png);
        Write("pictures/a.jpg", Jpeg);
        File.WriteAllText(_directory["classes.csv"], "file,label\nb.png,4\na.jpg,0\nb.png,2\n");
        Manifest("""{"kind":"images","images":"pictures","labels":"classes.csv","preprocessing":{"size":[2,2]}}""");
        var data = Open();
        Assert.Equal([4, 0, 2], data.Labels!);
        Assert.Equal(3, data.Samples.ShapeOf("")[0]);
        Assert.Equal(data.Samples.Read("", 0, 1).Bytes, data.Samples.Read("", 2, 1).Bytes);
    }

    [Fact]
    public void A_directory_of_tensors_is_one_set()
    {
        Save("1.npy", [2, 3], 0);
        Save("2.npy", [1, 3], 6);
        var samples = Open().Samples;
        Assert.Equal([3, 3], samples.ShapeOf(""));
        Assert.Equal([3, 4, 5, 6, 7, 8], samples.Read("", 1, 2).ToFloats());
        Save("3.npy", [1, 4], 0);
        Refused("3.npy");
    }

    [Fact]
    public void Declared_random_input_is_marked_and_repeats_itself()
    {
        Manifest("""{"kind":"random","samples":3,"seed":5,"inputs":{"x":{"shape":[2,2],"distribution":"normal","mean":10,"std":0.1},"ids":{"shape":[4],"type":"int64","low":5,"high":9}}}""");
        var data = Open();
        Assert.True(data.Synthetic);
        Assert.Equal([3, 2, 2], data.Samples.ShapeOf("x"));
        Assert.Equal(data.Samples.Read("x", 0, 3).ToFloats()[4..8], data.Samples.Read("x", 1, 1).ToFloats());
        Assert.All(data.Samples.Read("x", 0, 3).ToFloats(), v => Assert.InRange(v, 9, 11));
        Assert.All(data.Samples.Read("ids", 0, 3).ToInt64s(), v => Assert.InRange(v, 5, 8));
    }

    [Theory]
    [InlineData("""{"kind":"sounds"}""", "kind")]
    [InlineData("""{"kind":"images","preprocessing":{"size":[2,2]},"colour":1}""", "colour")]
    [InlineData("""{"kind":"images","preprocessing":{"size":[2]}}""", "size")]
    [InlineData("""{"kind":"images","preprocessing":{"size":[2,2],"std":[0]}}""", "std of 0")]
    [InlineData("""{"kind":"images","images":"..","preprocessing":{"size":[2,2]}}""", "leads out")]
    [InlineData("""{"kind":"text","text":"/etc/hostname"}""", "leads out")]
    [InlineData("""{"kind":"text","text":"t.txt"}""", "tokenizer.json")]
    [InlineData("""{"kind":"text","text":"t.txt","max_length":2}""", "max_length 2")]
    [InlineData("""{"kind":"random","inputs":{"x":{"shape":[0]}}}""", "shape")]
    [InlineData("""{"kind":"retrieval","queries":"absent.txt","passages":"t.txt"}""", "absent.txt")]
    public void A_wrong_declaration_says_what_is_wrong(string manifest, string part)
    {
        File.WriteAllText(_directory["t.txt"], "a text\n");
        Manifest(manifest);
        Refused(part);
    }

    [Fact]
    public void A_labelled_directory_of_tensors_gives_accuracy()
    {
        var test = NpyFile.Load(TestFiles.DigitsTest).Value;
        var labels = test["label"].ToInt64s();
        Directory.CreateDirectory(_directory["set"]);
        for (var i = 0; i < 20; i++)
        {
            using var stream = File.Create(_directory[$"set/{i}.npy"]);
            NpyFile.Write(stream, new NpyArray(test["image"].Type, [1, 1, 8, 8], test["image"].RowBytes(i, 1).ToArray()));
        }

        // Three labels are wrong on purpose.
        File.WriteAllLines(_directory["set/labels.csv"], Enumerable.Range(0, 20).Select(i => $"{i}.npy,{(i < 3 ? (labels[i] + 1) % 10 : labels[i])}"));
        var result = OnnxEvaluation.Run(new OnnxEvaluationRequest(TestFiles.Digits, TestFiles.Digits) { DataPath = _directory["set"], Settings = TestFiles.Precise with { IntraOpThreads = 1 } });
        Assert.True(result.IsOk, result.Failure?.Message);
        Assert.Equal(0.85, result.Value.Metrics.Single(m => m.Metric == "accuracy").Samples[0], 6);
    }

    public void Dispose() => _directory.Dispose();

    private void Write(string name, string base64) => File.WriteAllBytes(_directory[name], Convert.FromBase64String(base64));

    private void Manifest(string json) => File.WriteAllText(_directory["dataset.json"], json);

    private void Save(string name, long[] shape, int from)
    {
        using var stream = File.Create(_directory[name]);
        NpyFile.Write(stream, NpyArray.Of(shape, [.. Enumerable.Range(from, (int)(shape[0] * shape[1])).Select(v => (float)v)]));
    }

    private DataSet Open()
    {
        var opened = DataSet.Open(_directory.Root);
        Assert.True(opened.IsOk, opened.Failure?.Message);
        return opened.Value;
    }

    private void Refused(string part)
    {
        var failure = DataSet.Open(_directory.Root).Failure!;
        Assert.Equal(FailureType.InvalidInput, failure.Type);
        Assert.Contains(part, failure.Message, StringComparison.Ordinal);
    }
}
