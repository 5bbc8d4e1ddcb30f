using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>
/// The Hub's protocol over HTTP: a revision's commit and files (<c>api/models/ID/revision/REV?blobs=true</c>), and ranges of files
/// (<c>ID/resolve/COMMIT/PATH</c>, which redirects to where the bytes are). Throws <see cref="FailureException"/>. Safe for concurrent use.
/// </summary>
public sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 6;
    private const int MaxListBytes = 64 << 20;
    private const int MaxFiles = 100_000;

    private readonly HttpClient _http;

    /// <summary>A client; nothing is connected before the first request.</summary>
    public HubClient(HubOptions options)
    {
        Options = options;
        _http = new HttpClient(new SocketsHttpHandler
        {
            // Redirects are followed here, because the token must not follow them.
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = TimeSpan.FromSeconds(20),
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
        })
        { Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("EdgeFarm", "1"));
    }

    /// <summary>How the Hub is reached.</summary>
    public HubOptions Options { get; }

    /// <summary>Asks which commit a revision is and what files it has.</summary>
    public async Task<HubSnapshot> ResolveAsync(HubSource source, CancellationToken cancellation)
    {
        var uri = new Uri(Options.Endpoint, $"api/models/{source.Repository}/revision/{Uri.EscapeDataString(source.Revision)}?blobs=true");
        return await RetryAsync(source, async token =>
        {
            using var answer = await SendAsync(uri, null, source, "", token);
            var bytes = await ReadBoundedAsync(answer, source, token);
            return Parse(source, bytes);
        }, cancellation);
    }

    /// <summary>What the Hub says of a file that its list told too little of: its size and digest, from the headers of its address.</summary>
    public Task<HubFile> DescribeAsync(HubSnapshot snapshot, string path, CancellationToken cancellation) => RetryAsync(snapshot.Source, async token =>
    {
        // The answer that redirects has the headers; where the bytes are, they may be others.
        using var request = Request(HttpMethod.Head, Address(snapshot, path), null);
        using var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, token);
        if ((int)answer.StatusCode >= 400)
        {
            throw Refuse(answer, snapshot.Source, path);
        }

        string? Header(string name) => answer.Headers.TryGetValues(name, out var values) ? values.First() : null;
        var tag = (Header("X-Linked-Etag") ?? answer.Headers.ETag?.Tag ?? "").Trim('"');
        var size = long.TryParse(Header("X-Linked-Size"), out var linked) ? linked : (int)answer.StatusCode < 300 ? answer.Content.Headers.ContentLength : null;
        return new HubFile(path, size, Digest.TryParse(tag, out var digest) ? digest : null, IsGitId(tag) ? tag.ToLowerInvariant() : null);
    }, cancellation);

    /// <summary>Opens a file at an offset.</summary>
    /// <param name="snapshot">The repository.</param>
    /// <param name="path">The file.</param>
    /// <param name="location">Where an earlier request found the bytes, or null to ask again.</param>
    /// <param name="offset">First byte.</param>
    /// <param name="count">How many bytes; more than 0.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>The answer, which the caller disposes of: 206 with the range, or 200 with the whole file from a server that knows no ranges.</returns>
    internal Task<HttpResponseMessage> OpenAsync(HubSnapshot snapshot, string path, Uri? location, long offset, long count, CancellationToken cancellation) =>
        SendAsync(location ?? Address(snapshot, path), new RangeHeaderValue(offset, offset + count - 1), snapshot.Source, path, cancellation);

    /// <summary>Runs a request until it succeeds, fails for good, or was tried often enough.</summary>
    internal async Task<T> RetryAsync<T>(HubSource source, Func<CancellationToken, Task<T>> request, CancellationToken cancellation)
    {
        for (var tries = 0; ; tries++)
        {
            TimeSpan? asked;
            try
            {
                return await request(cancellation);
            }
            catch (PassingException e) when (tries < Options.Retries)
            {
                asked = e.RetryAfter;
            }
            catch (PassingException e)
            {
                throw new FailureException(e.Failure);
            }
            catch (Exception e) when (IsBroken(e) && !cancellation.IsCancellationRequested)
            {
                if (tries >= Options.Retries || IsUnknownHost(e))
                {
                    throw new FailureException(HubFailures.Unreachable(e, source, Options));
                }

                asked = null;
            }

            var wait = Options.FirstWait * Math.Pow(2, tries);
            await Task.Delay(asked is { } seconds && seconds > wait ? seconds : wait, cancellation);
        }
    }

    /// <summary>Whether an error is of the connection rather than of this program.</summary>
    internal static bool IsBroken(Exception e) => e is HttpRequestException or IOException or TimeoutException or OperationCanceledException;

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    // A machine without a network, or a typo in HF_ENDPOINT: waiting helps neither.
    private static bool IsUnknownHost(Exception e) => e is HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError };

    private Uri Address(HubSnapshot snapshot, string path) =>
        new(Options.Endpoint, $"{snapshot.Source.Repository}/resolve/{snapshot.Commit}/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}");

    /// <summary>Sends a GET and follows redirects; what is no success is thrown.</summary>
    private async Task<HttpResponseMessage> SendAsync(Uri uri, RangeHeaderValue? range, HubSource source, string path, CancellationToken cancellation)
    {
        for (var hops = 0; hops <= MaxRedirects; hops++)
        {
            using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            stall.CancelAfter(Options.StallTimeout);
            using var request = Request(HttpMethod.Get, uri, range);
            var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stall.Token);
            if ((int)answer.StatusCode is >= 200 and < 300)
            {
                return answer;
            }

            using (answer)
            {
                if ((int)answer.StatusCode is < 300 or >= 400 || answer.Headers.Location is not { } location)
                {
                    throw Refuse(answer, source, path);
                }

                var next = new Uri(uri, location);
                if (next.Scheme is not ("http" or "https") || (uri.Scheme == "https" && next.Scheme != "https"))
                {
                    throw new FailureException(Failure.InvalidInput($"{source}: {uri.Authority} redirects to {next.Scheme}://{next.Authority}, which is not safe to follow"));
                }

                uri = next;
            }
        }

        throw new FailureException(Failure.InvalidInput($"{source}: more than {MaxRedirects} redirects in a row from {Options.Endpoint.Authority}"));
    }

    private HttpRequestMessage Request(HttpMethod method, Uri uri, RangeHeaderValue? range)
    {
        var request = new HttpRequestMessage(method, uri);
        if (range is not null)
        {
            request.Headers.Range = new RangeHeaderValue { Ranges = { range.Ranges.Single() } };
        }

        var isOwn = uri.Scheme == Options.Endpoint.Scheme && uri.Authority == Options.Endpoint.Authority;
        if (Options.Token.Length > 0 && isOwn && (uri.Scheme == "https" || uri.IsLoopback))
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Options.Token);
        }

        return request;
    }

    private Exception Refuse(HttpResponseMessage answer, HubSource source, string path)
    {
        var failure = HubFailures.Of(answer, source, path, Options);
        return HubFailures.IsPassing(answer.StatusCode) ? new PassingException(failure, RetryAfter(answer)) : new FailureException(failure);
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage answer) =>
        answer.Headers.RetryAfter?.Delta is { } delta ? TimeSpan.FromSeconds(Math.Min(delta.TotalSeconds, 60)) : null;

    private async Task<byte[]> ReadBoundedAsync(HttpResponseMessage answer, HubSource source, CancellationToken cancellation)
    {
        await using var stream = await answer.Content.ReadAsStreamAsync(cancellation);
        using var buffer = new MemoryStream();
        var piece = new byte[64 * 1024];
        while (await StalledRead.ReadAsync(stream, piece, Options.StallTimeout, cancellation) is > 0 and var read)
        {
            buffer.Write(piece, 0, read);
            if (buffer.Length > MaxListBytes)
            {
                throw new FailureException(Failure.InvalidInput($"{source}: the list of its files has more than {MaxListBytes} bytes"));
            }
        }

        return answer.Content.Headers.ContentLength is { } length && length != buffer.Length
            ? throw new IOException($"{buffer.Length} of {length} bytes arrived")
            : buffer.ToArray();
    }

    private HubSnapshot Parse(HubSource source, byte[] json)
    {
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 64 });
            var root = document.RootElement;
            var commit = root.GetProperty("sha").GetString()!.ToLowerInvariant();
            if (!IsGitId(commit))
            {
                throw new FormatException($"'{commit}' is no commit");
            }

            if (source.Revision != commit && IsGitId(source.Revision))
            {
                throw new FormatException($"commit {source.Revision} was asked for, {commit} was answered");
            }

            var siblings = root.GetProperty("siblings");
            if (siblings.GetArrayLength() > MaxFiles)
            {
                throw new FormatException($"more than {MaxFiles} files");
            }

            return new HubSnapshot(source, commit, [.. siblings.EnumerateArray().Select(ParseFile)]);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or NullReferenceException)
        {
            throw new FailureException(Failure.InvalidInput($"{source}: {Options.Endpoint.Authority} answered with something that is no list of a model's files ({e.Message}); is {HubOptions.EndpointVariable} a mirror of the Hub?"));
        }
    }

    private static HubFile ParseFile(JsonElement file)
    {
        static JsonElement? Member(JsonElement element, string name) =>
            element.TryGetProperty(name, out var value) && value.ValueKind is not JsonValueKind.Null ? value : null;
        var lfs = Member(file, "lfs");
        var sha = lfs is { } large ? (Member(large, "sha256") ?? Member(large, "oid"))?.GetString() : null;
        var size = (lfs is { } l ? Member(l, "size") : null) ?? Member(file, "size");
        var git = Member(file, "blobId")?.GetString();
        return new HubFile(
            file.GetProperty("rfilename").GetString() ?? "",
            size?.GetInt64() is >= 0 and var bytes ? bytes : null,
            Digest.TryParse(sha, out var digest) ? digest : null,
            lfs is null && git is not null && IsGitId(git) ? git.ToLowerInvariant() : null);
    }

    private static bool IsGitId(string text) => text.Length == 40 && text.All(char.IsAsciiHexDigit);

    /// <summary>A failure that may pass.</summary>
    internal sealed class PassingException(Failure failure, TimeSpan? retryAfter) : Exception(failure.Message)
    {
        public Failure Failure { get; } = failure;

        public TimeSpan? RetryAfter { get; } = retryAfter;
    }
}

/// <summary>Reads that end when nothing arrives for too long.</summary>
internal static class StalledRead
{
    public static async ValueTask<int> ReadAsync(Stream stream, Memory<byte> buffer, TimeSpan timeout, CancellationToken cancellation)
    {
        using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        stall.CancelAfter(timeout);
        try
        {
            return await stream.ReadAsync(buffer, stall.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"nothing arrived for {timeout.TotalSeconds:0} s");
        }
    }
}
