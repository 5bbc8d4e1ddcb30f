using System.Text.Json.Nodes;

namespace EdgeFarm.ModelFormats.Tests;

/// <summary>A copy of a checkpoint among the test's data that a test may change.</summary>
internal sealed class CheckpointCopy : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public CheckpointCopy(string source, string? name = null)
    {
        Path = _directory.File(name ?? System.IO.Path.GetFileName(source));
        Directory.CreateDirectory(Path);
        foreach (var file in Directory.GetFiles(source))
        {
            System.IO.File.Copy(file, File(System.IO.Path.GetFileName(file)));
            System.IO.File.SetAttributes(File(System.IO.Path.GetFileName(file)), FileAttributes.Normal);
        }
    }

    public string Path { get; }

    /// <summary>A place for the output, beside the checkpoint.</summary>
    public string Output => _directory.File("out.gguf");

    /// <summary>What lies beside the checkpoint.</summary>
    public string[] Leftovers => Directory.GetFiles(_directory.Path);

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public CheckpointCopy Edit(string file, Action<JsonObject> change)
    {
        var root = JsonNode.Parse(System.IO.File.ReadAllText(File(file)))!.AsObject();
        change(root);
        System.IO.File.WriteAllText(File(file), root.ToJsonString());
        return this;
    }

    public CheckpointCopy Config(string key, string? json) => Edit("config.json", root =>
    {
        if (json is null)
        {
            root.Remove(key);
        }
        else
        {
            root[key] = JsonNode.Parse(json);
        }
    });

    public void Dispose() => _directory.Dispose();
}
