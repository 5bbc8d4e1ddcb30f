using System.Net;
using System.Net.Sockets;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting;

/// <summary>Where a server listens.</summary>
/// <param name="Host">An IP address, <c>localhost</c>, or <c>*</c> for every address.</param>
/// <param name="Port">0 for a free one.</param>
public sealed record ListenAddress(string Host, int Port)
{
    /// <summary>Whether with TLS.</summary>
    public bool IsTls { get; init; }

    /// <summary>Whether only this machine reaches it.</summary>
    public bool IsLoopback => IPAddress.IsLoopback(BindAddress);

    /// <summary>As it is written.</summary>
    public string Url => $"{(IsTls ? "https" : "http")}://{this}";

    /// <summary>Reads <c>http://HOST:PORT</c> or <c>https://HOST:PORT</c>.</summary>
    public static Outcome<ListenAddress> Parse(string url)
    {
        // Uri knows no wildcard host; Kestrel's is '*' or '+'.
        var text = url.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal);
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || (uri.Scheme != Uri.UriSchemeHttp && uri.Scheme != Uri.UriSchemeHttps) || uri.PathAndQuery != "/")
        {
            return Failure.InvalidInput($"'{url}' is no address to listen at; use http://HOST:PORT, e.g. http://127.0.0.1:5080");
        }

        if (!IPAddress.TryParse(uri.Host.Trim('[', ']'), out _) && uri.Host != "localhost")
        {
            return Failure.InvalidInput($"cannot listen at the host '{uri.Host}'; use an IP address of this machine, localhost, or * for all");
        }

        return new ListenAddress(uri.Host.Trim('[', ']'), uri.Port) { IsTls = uri.Scheme == Uri.UriSchemeHttps };
    }

    /// <summary>The address to bind; <c>localhost</c> means 127.0.0.1, since a free port cannot be taken on two addresses at once.</summary>
    internal IPAddress BindAddress => Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(Host);

    /// <inheritdoc/>
    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    /// <summary>The same address with a port that is free now instead of 0. Workers must know it before the server has it.</summary>
    internal ListenAddress TakePort()
    {
        if (Port != 0)
        {
            return this;
        }

        using var listener = new TcpListener(BindAddress, 0);
        listener.Start();
        return this with { Port = ((IPEndPoint)listener.LocalEndpoint).Port };
    }

    /// <summary>The address for a client on this machine.</summary>
    internal ListenAddress Reachable() =>
        BindAddress.Equals(IPAddress.Any) ? this with { Host = "127.0.0.1" } : BindAddress.Equals(IPAddress.IPv6Any) ? this with { Host = "::1" } : this;
}
