using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>How the Hub is reached.</summary>
public sealed record HubOptions
{
    /// <summary>Environment variable with the address of a mirror.</summary>
    public const string EndpointVariable = "HF_ENDPOINT";

    /// <summary>Environment variable with an access token, for gated and private models.</summary>
    public const string TokenVariable = "HF_TOKEN";

    /// <summary>The Hub or a mirror of it.</summary>
    public Uri Endpoint { get; init; } = new("https://huggingface.co/");

    /// <summary>Access token; empty for none. It goes to the endpoint's host alone, and never over plain HTTP to another machine.</summary>
    public string Token { get; init; } = "";

    /// <summary>Ranges of one file that are fetched at once, at least 1. Each holds <see cref="RangeBytes"/> in memory.</summary>
    public int Connections { get; init; } = 8;

    /// <summary>Bytes of one range.</summary>
    public int RangeBytes { get; init; } = 8 << 20;

    /// <summary>How often a request that failed for a reason that may pass is tried again.</summary>
    public int Retries { get; init; } = 6;

    /// <summary>The wait before the first retry; it doubles from one to the next.</summary>
    public TimeSpan FirstWait { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a connection may bring nothing before it counts as broken.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The options of this process's environment. InvalidInput when <c>HF_ENDPOINT</c> is no address.</summary>
    public static Outcome<HubOptions> FromEnvironment()
    {
        var token = Environment.GetEnvironmentVariable(TokenVariable)?.Trim() ?? "";
        if (token.Any(c => c is <= ' ' or > '~'))
        {
            return Failure.InvalidInput($"{TokenVariable} is no access token: it holds white space or characters that no token has");
        }

        var options = new HubOptions { Token = token };
        if (Environment.GetEnvironmentVariable(EndpointVariable) is not { Length: > 0 } endpoint)
        {
            return options;
        }

        return Uri.TryCreate(endpoint.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" && uri.UserInfo.Length == 0
            ? options with { Endpoint = uri }
            : Failure.InvalidInput($"{EndpointVariable} '{endpoint}' is no address of a mirror; use https://HOST");
    }
}
