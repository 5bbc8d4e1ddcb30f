using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace EdgeFarm.Contracts;

/// <summary>What a client or worker shows and trusts: a token for its role, and certificate authorities beside the system's.</summary>
public sealed class FarmAccess
{
    /// <summary>Environment variable that names the file with the token.</summary>
    public const string TokenVariable = "EDGEFARM_TOKEN_FILE";

    /// <summary>Environment variable that names the file with the certificate authorities.</summary>
    public const string AuthorityVariable = "EDGEFARM_CA_FILE";

    private const int MaxTokenLength = 4096;

    private readonly string? _token;
    private readonly X509Certificate2Collection? _authorities;

    private FarmAccess(string? token, X509Certificate2Collection? authorities) => (_token, _authorities) = (token, authorities);

    /// <summary>No token, and the system's authorities.</summary>
    public static FarmAccess None { get; } = new(null, null);

    /// <summary>Whether calls carry a token.</summary>
    public bool HasToken => _token is not null;

    /// <summary>
    /// Reads the files. <see cref="InvalidDataException"/> when one cannot be read or does not hold what it should; its message names the file.
    /// </summary>
    /// <param name="tokenFile">Holds the token as its only line; null takes that of <see cref="TokenVariable"/>, if any.</param>
    /// <param name="authorityFile">Certificates as PEM; null takes that of <see cref="AuthorityVariable"/>, if any.</param>
    public static FarmAccess Load(string? tokenFile, string? authorityFile)
    {
        tokenFile = Given(tokenFile, TokenVariable);
        authorityFile = Given(authorityFile, AuthorityVariable);
        return tokenFile is null && authorityFile is null
            ? None
            : new FarmAccess(tokenFile is null ? null : ReadToken(tokenFile), authorityFile is null ? null : ReadAuthorities(authorityFile));
    }

    internal HttpMessageHandler Apply(SocketsHttpHandler handler)
    {
        if (_authorities is { } authorities)
        {
            handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => IsTrusted(certificate, chain, errors, authorities);
        }

        return _token is null ? handler : new TokenHandler(_token, handler);
    }

    private static string? Given(string? file, string variable) =>
        !string.IsNullOrEmpty(file) ? file : Environment.GetEnvironmentVariable(variable) is { Length: > 0 } named ? named : null;

    private static string ReadToken(string file)
    {
        var token = Read(file, "token").Trim();
        return token.Length is > 0 and <= MaxTokenLength && token.All(c => c is > ' ' and < (char)127)
            ? token
            : throw new InvalidDataException($"the token file '{file}' must hold one token: printable characters without spaces on one line");
    }

    private static X509Certificate2Collection ReadAuthorities(string file)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(Read(file, "certificate"));
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"the certificate file '{file}' is no PEM file: {e.Message}");
        }

        return authorities.Count > 0
            ? authorities
            : throw new InvalidDataException($"the certificate file '{file}' holds no certificate; it must have PEM blocks that begin with -----BEGIN CERTIFICATE-----");
    }

    private static string Read(string file, string what)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidDataException($"the {what} file '{file}' cannot be read: {e.Message}");
        }
    }

    /// <summary>Trusts what the system trusts, and what leads to one of the given authorities; the name must fit in both cases.</summary>
    private static bool IsTrusted(X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors, X509Certificate2Collection authorities)
    {
        if (errors is SslPolicyErrors.None)
        {
            return true;
        }

        if (certificate is not X509Certificate2 leaf || errors is not SslPolicyErrors.RemoteCertificateChainErrors)
        {
            return false;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        foreach (var element in presented?.ChainElements.Select(e => e.Certificate) ?? [])
        {
            chain.ChainPolicy.ExtraStore.Add(element);
        }

        return chain.Build(leaf);
    }

    /// <summary>Puts the token on every request.</summary>
    private sealed class TokenHandler(string token, HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            return base.SendAsync(request, cancellationToken);
        }
    }
}
