using System.Security.Cryptography.X509Certificates;
using Akka.Event;
using Akka.Remote.Transport.DotNetty;

namespace EdgeFarm.Actors.Hosting;

/// <summary>
/// TLS between coordinators, mutual: each shows its certificate and takes only peers that are coordinators of the same farm by theirs.
/// </summary>
/// <param name="certificate">This coordinator's, with its key.</param>
/// <param name="authorities">Whose certificates peers may have. Those between them and a peer's certificate belong here too.</param>
public sealed class FarmClusterTls(X509Certificate2 certificate, X509Certificate2Collection authorities)
{
    /// <summary>
    /// Whether a certificate is a coordinator's: it leads to one of the authorities and is for one of the names that this coordinator's is
    /// for (without names: has the same subject). An authority may have made others, of clients or of other services: those are no
    /// coordinators. The address is not compared, because coordinators come and go under addresses of their own.
    /// </summary>
    public bool IsPeer(X509Certificate2? peer)
    {
        if (peer is null)
        {
            return false;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.ExtraStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        var (own, theirs) = (Names(certificate), Names(peer));
        return (own.Count == 0 ? theirs.Count == 0 && peer.Subject == certificate.Subject : own.Overlaps(theirs)) && chain.Build(peer);
    }

    /// <summary>For the actor system; the configuration must switch TLS on.</summary>
    internal DotNettySslSetup Setup() => new(
        certificate,
        suppressValidation: false,
        requireMutualAuthentication: true,
        (peer, _, address, _, log) =>
        {
            var isPeer = IsPeer(peer);
            if (!isPeer)
            {
                log.Warning("{0} is no coordinator of this farm by its certificate ({1}); its connection is closed", address, peer?.Subject ?? "none");
            }

            return isPeer;
        });

    private static HashSet<string> Names(X509Certificate2 of) =>
        of.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(e => e.EnumerateDnsNames()).ToHashSet(StringComparer.OrdinalIgnoreCase);
}
