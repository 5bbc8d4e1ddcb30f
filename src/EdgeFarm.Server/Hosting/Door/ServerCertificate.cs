using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Actors.Hosting;
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

    /// <summary>The same certificate for TLS between coordinators. <see cref="FailureType.InvalidInput"/> when the authorities cannot be read.</summary>
    /// <param name="authorityFile">PEM file with the authority of the coordinators' certificates, and what stands between them.</param>
    internal Outcome<FarmClusterTls> ForPeers(string authorityFile)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(authorityFile);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Failure.InvalidInput($"Cluster.Authority: '{authorityFile}' cannot be used: {e.Message}");
        }

        if (authorities.Count == 0)
        {
            return Failure.InvalidInput($"Cluster.Authority: '{authorityFile}' holds no certificate; it must have PEM blocks that begin with -----BEGIN CERTIFICATE-----");
        }

        var tls = new FarmClusterTls(_certificate, authorities);
        return tls.IsPeer(_certificate)
            ? tls
            : Failure.InvalidInput($"Cluster.Authority: Tls.Certificate ({_certificate.Subject}) is not of an authority in '{authorityFile}', or is not valid now, so the other coordinators would refuse this one");
    }

    internal void Apply(HttpsConnectionAdapterOptions options) => (options.ServerCertificate, options.ServerCertificateChain) = (_certificate, _chain);
}
