using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace EdgeFarm.Tests.HuggingFace;

/// <summary>
/// A Hub of one repository and one commit, in two servers as the real one: the Hub lists files and redirects what is in large-file
/// storage to another host, which serves ranges of bytes.
/// </summary>
internal sealed class HubServer : IAsyncDisposable
{
    public const string Repository = "org/tiny", Commit = "0123456789abcdef0123456789abcdef01234567", Token = "hf_secret";

    private readonly WebApplication _app;

    private HubServer(WebApplication app)
    {
        _app = app;
        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(a => new Uri(a)).ToArray();
        (Endpoint, Storage) = (addresses[0], addresses[1]);
    }

    /// <summary>The Hub.</summary>
    public Uri Endpoint { get; private set; }

    /// <summary>Where large files are.</summary>
    public Uri Storage { get; }

    /// <summary>Content by path.</summary>
    public Dictionary<string, byte[]> Files { get; } = new(StringComparer.Ordinal);

    /// <summary>Requests as they came: host (hub or storage), method, path, range, whether a token came with it.</summary>
    public ConcurrentQueue<(string Host, string Method, string Path, string Range, bool HasToken)> Requests { get; } = new();

    /// <summary>Only who brings the token sees the repository.</summary>
    public bool IsPrivate { get; set; }

    /// <summary>Error code of the Hub for every request of a file.</summary>
    public (int Status, string Code)? Refuse { get; set; }

    /// <summary>The list of files tells names alone.</summary>
    public bool HasBareList { get; set; }

    /// <summary>The storage answers every request with the whole file.</summary>
    public bool IgnoresRanges { get; set; }

    /// <summary>Answers of the storage that break after some bytes; counted down.</summary>
    public int Breaks;

    /// <summary>Answers of the storage with 503, counted down.</summary>
    public int Unavailable;

    /// <summary>Answers of the storage with 403, as an address that has expired; counted down once it served something.</summary>
    public int Expired;

    /// <summary>Bytes that the storage serves in the place of a file's.</summary>
    public Dictionary<string, byte[]> Damaged { get; } = new(StringComparer.Ordinal);

    /// <summary>Answers of large files that are complete; the ones after them send a little and then wait until the client is gone.</summary>
    public int AnswersBeforeStop = int.MaxValue;

    /// <summary>Completes when an answer has stopped.</summary>
    public TaskCompletionSource Stopped { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public static async Task<HubServer> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k =>
        {
            k.Listen(IPAddress.Loopback, 0);
            k.Listen(IPAddress.Loopback, 0);
        });
        var app = builder.Build();
        HubServer? server = null;
        app.Run(context => server!.AnswerAsync(context));
        await app.StartAsync();
        return server = new HubServer(app);
    }

    /// <summary>A file as git names it: below 64 KiB it is in the repository itself, above in large-file storage.</summary>
    public static bool IsLarge(byte[] content) => content.Length > 64 * 1024;

    /// <summary>A checkpoint of two shards, with files that a checkpoint does not need.</summary>
    public void AddCheckpoint()
    {
        var random = new Random(7);
        byte[] Bytes(int count)
        {
            var bytes = new byte[count];
            random.NextBytes(bytes);
            return bytes;
        }

        Files["config.json"] = """{"architectures": ["LlamaForCausalLM"]}"""u8.ToArray();
        Files["tokenizer.json"] = Bytes(100_000);
        Files["tokenizer_config.json"] = "{}"u8.ToArray();
        Files["README.md"] = "# tiny"u8.ToArray();
        Files["model.safetensors.index.json"] = """{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"""u8.ToArray();
        Files["model-00001-of-00002.safetensors"] = Bytes(1_500_000);
        Files["model-00002-of-00002.safetensors"] = Bytes(700_001);
        Files["model.fp32.safetensors"] = Bytes(200_000);
        Files["pytorch_model.bin"] = Bytes(300_000);
        Files["onnx/model.onnx"] = Bytes(80_000);
        Files[".gitattributes"] = "x"u8.ToArray();
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var request = context.Request;
        var isHub = request.HttpContext.Connection.LocalPort == Endpoint.Port;
        var hasToken = request.Headers.Authorization == $"Bearer {Token}";
        Requests.Enqueue((isHub ? "hub" : "storage", request.Method, request.Path, request.Headers.Range.ToString(), request.Headers.Authorization.Count > 0));
        if (!isHub)
        {
            await StorageAsync(context);
            return;
        }

        var path = request.Path.Value!;
        if (path.StartsWith("/old/name/", StringComparison.Ordinal) || path.StartsWith("/api/models/old/name/", StringComparison.Ordinal))
        {
            // A repository that was renamed: the answer is a path on the same host.
            context.Response.StatusCode = 307;
            context.Response.Headers.Location = path.Replace("old/name", Repository, StringComparison.Ordinal) + request.QueryString;
            return;
        }

        if (!path.Contains($"/{Repository}/", StringComparison.Ordinal) || (IsPrivate && !hasToken))
        {
            Error(context, 401, "RepoNotFound");
        }
        else if (path.StartsWith($"/api/models/{Repository}/revision/", StringComparison.Ordinal))
        {
            await ListAsync(context, path[$"/api/models/{Repository}/revision/".Length..]);
        }
        else if (Refuse is { } refuse)
        {
            Error(context, refuse.Status, refuse.Code);
        }
        else if (path.StartsWith($"/{Repository}/resolve/{Commit}/", StringComparison.Ordinal) && Files.TryGetValue(path[$"/{Repository}/resolve/{Commit}/".Length..], out var content))
        {
            await ResolveAsync(context, path[$"/{Repository}/resolve/{Commit}/".Length..], content);
        }
        else
        {
            Error(context, 404, "EntryNotFound");
        }
    }

    private async Task ListAsync(HttpContext context, string revision)
    {
        if (Uri.UnescapeDataString(revision) is not ("main" or "v1.0" or "refs/pr/1" or Commit))
        {
            Error(context, 404, "RevisionNotFound");
            return;
        }

        var siblings = new JsonArray();
        foreach (var (path, content) in Files)
        {
            var file = new JsonObject { ["rfilename"] = path };
            if (!HasBareList)
            {
                file["size"] = content.Length;
                file["blobId"] = GitId(content);
                file["lfs"] = IsLarge(content) ? new JsonObject { ["sha256"] = Sha256(content), ["size"] = content.Length, ["pointerSize"] = 134 } : null;
            }

            siblings.Add(file);
        }

        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(new JsonObject { ["id"] = Repository, ["sha"] = Commit, ["siblings"] = siblings }.ToJsonString());
    }

    private async Task ResolveAsync(HttpContext context, string path, byte[] content)
    {
        var response = context.Response;
        response.Headers["X-Repo-Commit"] = Commit;
        if (IsLarge(content))
        {
            response.Headers["X-Linked-Size"] = content.Length.ToString(CultureInfo.InvariantCulture);
            response.Headers["X-Linked-Etag"] = $"\"{Sha256(content)}\"";
            response.StatusCode = 302;
            response.Headers.Location = new Uri(Storage, $"blobs/{path}?signature=x").ToString();
            return;
        }

        response.Headers.ETag = $"\"{GitId(content)}\"";
        await SendAsync(context, Damaged.GetValueOrDefault(path, content), ranges: true);
    }

    private async Task StorageAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!["/blobs/".Length..];
        var content = Damaged.GetValueOrDefault(path, Files[path]);
        if (Interlocked.Decrement(ref Unavailable) >= 0)
        {
            context.Response.StatusCode = 503;
            return;
        }

        if (context.Request.Headers.Range != "" && !context.Request.Headers.Range.ToString().StartsWith("bytes=0-", StringComparison.Ordinal) && Interlocked.Decrement(ref Expired) >= 0)
        {
            context.Response.StatusCode = 403;
            return;
        }

        await SendAsync(context, content, !IgnoresRanges);
    }

    private async Task SendAsync(HttpContext context, byte[] content, bool ranges)
    {
        var response = context.Response;
        var (from, to) = (0, content.Length - 1);
        if (ranges && context.Request.GetTypedHeaders().Range?.Ranges.SingleOrDefault() is { } range)
        {
            (from, to) = ((int)range.From!.Value, (int)Math.Min(range.To!.Value, content.Length - 1));
            response.StatusCode = 206;
            response.Headers.ContentRange = $"bytes {from}-{to}/{content.Length}";
        }

        var body = content.AsMemory(from, to - from + 1);
        response.ContentLength = body.Length;
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        if (IsLarge(content) && Interlocked.Decrement(ref AnswersBeforeStop) < 0)
        {
            await response.Body.WriteAsync(body[..(body.Length / 2)]);
            await response.Body.FlushAsync();
            Stopped.TrySetResult();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
            return;
        }

        if (IsLarge(content) && Interlocked.Decrement(ref Breaks) >= 0)
        {
            await response.Body.WriteAsync(body[..(body.Length / 3)]);
            await response.Body.FlushAsync();
            context.Abort();
            return;
        }

        await response.Body.WriteAsync(body);
    }

    private static void Error(HttpContext context, int status, string code)
    {
        context.Response.StatusCode = status;
        context.Response.Headers["X-Error-Code"] = code;
    }

    public static string Sha256(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

#pragma warning disable CA5350 // git's own digest
    private static string GitId(byte[] content) => Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {content.Length}\0"), .. content]));
#pragma warning restore CA5350
}
