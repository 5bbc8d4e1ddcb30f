using System.Net;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting;

/// <summary>Where a server listens without TLS.</summary>
/// <param name="Host">An IP address, <c>localhost</c>, or <c>*</c> for every address.</param>
/// <param name="Port">0 for a free one.</param>
public sealed record ListenAddress(string Host, int Port)
{
    /// <summary>Reads <c>http://HOST:PORT</c>.</summary>
    public static Outcome<ListenAddress> Parse(string url)
    {
        // Uri knows no wildcard host; Kestrel's is '*' or '+'.
        var text = url.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal);
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme != Uri.UriSchemeHttp || uri.PathAndQuery != "/")
        {
            return Failure.InvalidInput($"'{url}' is no address to listen at; use http://HOST:PORT, e.g. http://127.0.0.1:5080");
        }

        if (!IPAddress.TryParse(uri.Host.Trim('[', ']'), out _) && uri.Host != "localhost")
        {
            return Failure.InvalidInput($"cannot listen at the host '{uri.Host}'; use an IP address of this machine, localhost, or * for all");
        }

        return new ListenAddress(uri.Host.Trim('[', ']'), uri.Port);
    }

    /// <summary>The address to bind; <c>localhost</c> means 127.0.0.1, since a free port cannot be taken on two addresses at once.</summary>
    internal IPAddress BindAddress => Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(Host);
}
