using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Core.Jobs;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace EdgeFarm.Server.Hosting;

/// <summary>What a coordinator shows to clients that come with TLS.</summary>
public sealed class ServerCertificate
{
    private readonly X509Certificate2 _certificate;
    private readonly X509Certificate2Collection _chain;

    private ServerCertificate(X509Certificate2 certificate, X509Certificate2Collection chain) => (_certificate, _chain) = (certificate, chain);

    /// <summary>Reads PEM files. <see cref="FailureType.InvalidInput"/> when one cannot be read or they do not belong together.</summary>
    /// <param name="certificateFile">The certificate first, then those between it and its authority.</param>
    /// <param name="keyFile">Its key.</param>
    public static Outcome<ServerCertificate> Load(string certificateFile, string keyFile)
    {
        try
        {
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(certificateFile);
            return new ServerCertificate(X509Certificate2.CreateFromPemFile(certificateFile, keyFile), chain);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Failure.InvalidInput($"Tls: the certificate '{certificateFile}' with the key '{keyFile}' cannot be used: {e.Message}");
        }
    }

    internal void Apply(HttpsConnectionAdapterOptions options) => (options.ServerCertificate, options.ServerCertificateChain) = (_certificate, _chain);
}
