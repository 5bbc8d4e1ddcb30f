using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Actors.Hosting;

namespace EdgeFarm.Actors.Tests.Hosting;

public sealed class FarmClusterTlsTests : IDisposable
{
    private readonly X509Certificate2 _authority = MakeAuthority();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public void A_peer_has_a_certificate_of_the_authority_for_a_name_of_ones_own()
    {
        using var own = Issue(_authority, "CN=one", ["farm.example", "one.example"]);
        var tls = new FarmClusterTls(own, [_authority]);
        Assert.True(tls.IsPeer(own));
        using var another = Issue(_authority, "CN=two", ["two.example", "FARM.example"]);
        Assert.True(tls.IsPeer(another));
        using var client = Issue(_authority, "CN=one", ["client.example"]);
        Assert.False(tls.IsPeer(client));
        using var nameless = Issue(_authority, "CN=one", []);
        Assert.False(tls.IsPeer(nameless));
        Assert.False(tls.IsPeer(null));
    }

    [Fact]
    public void Another_authority_or_time_makes_no_peer()
    {
        using var own = Issue(_authority, "CN=one", ["farm.example"]);
        var tls = new FarmClusterTls(own, [_authority]);
        using var other = MakeAuthority();
        using var foreign = Issue(other, "CN=one", ["farm.example"]);
        Assert.False(tls.IsPeer(foreign));
        using var expired = Issue(_authority, "CN=one", ["farm.example"], until: DateTimeOffset.UtcNow.AddHours(-1));
        Assert.False(tls.IsPeer(expired));
    }

    [Fact]
    public void Without_names_the_subject_counts()
    {
        using var own = Issue(_authority, "CN=farm", []);
        var tls = new FarmClusterTls(own, [_authority]);
        using var same = Issue(_authority, "CN=farm", []);
        Assert.True(tls.IsPeer(same));
        using var other = Issue(_authority, "CN=client", []);
        Assert.False(tls.IsPeer(other));
    }

    private static X509Certificate2 MakeAuthority()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-2), DateTimeOffset.UtcNow.AddDays(2));
    }

    private static X509Certificate2 Issue(X509Certificate2 authority, string subject, string[] names, DateTimeOffset? until = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        if (names.Length > 0)
        {
            var alternatives = new SubjectAlternativeNameBuilder();
            Array.ForEach(names, alternatives.AddDnsName);
            request.CertificateExtensions.Add(alternatives.Build());
        }

        return request.Create(authority, DateTimeOffset.UtcNow.AddDays(-1), until ?? DateTimeOffset.UtcNow.AddDays(1), RandomNumberGenerator.GetBytes(8));
    }
}
