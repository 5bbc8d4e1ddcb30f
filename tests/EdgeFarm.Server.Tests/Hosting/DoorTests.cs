using System.Collections;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Contracts;
using EdgeFarm.Contracts.V1;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Server.Hosting.Settings;
using Grpc.Core;
using Grpc.Health.V1;

namespace EdgeFarm.Server.Tests.Hosting;

/// <summary>TLS and tokens on a real coordinator.</summary>
public sealed class DoorTests : IDisposable
{
    private const string Viewer = "viewer-token-0123456789";
    private const string Submitter = "submitter-token-0123456789";
    private const string Worker = "worker-token-0123456789";
    private const string Admin = "admin-token-0123456789";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("edgefarm-door-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void Every_method_of_the_farm_is_decided_about()
    {
        var methods = DescriptorSets.Current().File
            .SelectMany(f => f.Service.SelectMany(s => s.Method.Select(m => $"/{f.Package}.{s.Name}/{m.Name}"))).ToList();
        Assert.NotEmpty(methods);
        Assert.All(methods, m => Assert.True(FarmDoor.IsListed(m), $"{m}: which roles may call it?"));
        Assert.Equal(FarmRole.Admin, FarmDoor.RolesFor("/edgefarm.v1.Nothing/Never"));
    }

    [Fact]
    public void Only_submitters_and_admins_change_sweeps()
    {
        foreach (var method in new[] { "Submit", "Cancel", "Retry" })
        {
            Assert.Equal(FarmRole.Submitter | FarmRole.Admin, FarmDoor.RolesFor($"/edgefarm.v1.Sweeps/{method}"));
        }

        Assert.Equal(FarmRole.Viewer | FarmRole.Submitter | FarmRole.Admin, FarmDoor.RolesFor("/edgefarm.v1.Sweeps/GetSweep"));
        Assert.Equal(FarmRole.Worker | FarmRole.Admin, FarmDoor.RolesFor("/edgefarm.link.v1.WorkerLink/Open"));
    }

    [Theory]
    [InlineData("boss 0123456789abcdef", "line 1: the first word must be viewer")]
    [InlineData("# tokens\nviewer short", "line 2: after the role stands one token of at least 16")]
    [InlineData("viewer 0123456789abcdef extra", "line 1: after the role")]
    [InlineData("# none\n\n", "holds no token")]
    public void A_wrong_token_file_is_named_with_its_line(string content, string expected)
    {
        var message = TokenFile.Load(Write("tokens", content)).Failure!.Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.DoesNotContain("0123456789abcdef", message, StringComparison.Ordinal);
        Assert.Contains("cannot be read", TokenFile.Load(Path.Combine(_folder.FullName, "absent")).Failure!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://127.0.0.1:1", false, false, false, null)]
    [InlineData("http://0.0.0.0:1", false, false, false, "needs TLS")]
    [InlineData("http://10.1.2.3:1", false, true, false, "needs TLS")]
    [InlineData("https://0.0.0.0:1", true, false, false, "needs a token file")]
    [InlineData("https://0.0.0.0:1", true, true, false, null)]
    [InlineData("http://0.0.0.0:1", false, false, true, null)]
    public void Off_loopback_it_wants_TLS_and_tokens(string url, bool tls, bool tokens, bool insecure, string? refusal)
    {
        var failure = CoordinatorHost.CheckDoor(ListenAddress.Parse(url).Value, tls, tokens, insecure);
        Assert.Equal(refusal is null, failure is null);
        if (refusal is not null)
        {
            Assert.Contains(refusal, failure!.Message, StringComparison.Ordinal);
            Assert.Contains("--insecure", failure.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Over_TLS_each_role_may_what_it_may()
    {
        var authority = WriteCertificates();
        var tokens = Write("tokens", $"viewer {Viewer}\nsubmitter {Submitter}\nworker {Worker}\nadmin {Admin}\n");
        var environment = new Hashtable
        {
            ["EDGEFARM__LISTEN"] = "https://127.0.0.1:0",
            ["EDGEFARM__HTTP"] = "http://127.0.0.1:0",
            ["EDGEFARM__DATA"] = Path.Combine(_folder.FullName, "data"),
            ["EDGEFARM__TLS__CERTIFICATE"] = Path.Combine(_folder.FullName, "server.pem"),
            ["EDGEFARM__TLS__KEY"] = Path.Combine(_folder.FullName, "server.key"),
            ["EDGEFARM__TOKENS"] = tokens,
        };
        var settings = CoordinatorSettings.Read(null, environment, null, null, null, insecure: false).Value;
        using var data = DataDirectory.Open(settings.Data).Value;
        var started = await CoordinatorHost.StartAsync(settings, data, LogLevel.Warning, default);
        await using var host = started.Value;

        async Task<StatusCode> TryAsync(string? token, Func<EdgeFarmClient, Task> call)
        {
            using var client = new EdgeFarmClient(host.Address, FarmAccess.Load(token is null ? null : Write("token", token + "\n"), authority));
            try
            {
                await call(client);
                return StatusCode.OK;
            }
            catch (RpcException e)
            {
                return e.StatusCode;
            }
        }

        static async Task ListAsync(EdgeFarmClient client) => await client.Sweeps.ListSweepsAsync(new ListSweepsRequest());
        static async Task CancelAsync(EdgeFarmClient client) => await client.Sweeps.CancelAsync(new CancelRequest { Id = "nothing" });
        static async Task StatAsync(EdgeFarmClient client) =>
            await client.Artifacts.StatAsync(new StatRequest { Digest = EdgeFarm.Core.Artifacts.Digest.OfText("x").ToString(), Kind = ArtifactKind.File });

        Assert.Equal(StatusCode.Unauthenticated, await TryAsync(null, ListAsync));
        Assert.Equal(StatusCode.Unauthenticated, await TryAsync("unknown-token-0123456789", ListAsync));
        Assert.Equal(StatusCode.OK, await TryAsync(Viewer, ListAsync));
        Assert.Equal(StatusCode.PermissionDenied, await TryAsync(Viewer, CancelAsync));
        Assert.Equal(StatusCode.NotFound, await TryAsync(Submitter, CancelAsync));
        Assert.Equal(StatusCode.PermissionDenied, await TryAsync(Worker, ListAsync));
        Assert.Equal(StatusCode.OK, await TryAsync(Worker, StatAsync));
        Assert.Equal(StatusCode.NotFound, await TryAsync(Admin, CancelAsync));

        // Without the authority the certificate is not trusted; the system's own do not know it.
        using (var distrustful = new EdgeFarmClient(host.Address))
        {
            var refused = await Assert.ThrowsAsync<FarmCallException>(() => distrustful.AwaitAsync(distrustful.Sweeps.ListSweepsAsync(new ListSweepsRequest())));
            Assert.Contains("--ca", refused.Message, StringComparison.Ordinal);
        }

        // Health and metrics need no token where they belong, and are closed on the gRPC port.
        using var http = new HttpClient();
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync(new Uri(host.HttpAddress, "/health/ready"))).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync(new Uri(host.HttpAddress, "/metrics"))).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync(new Uri(host.HttpAddress, "/anything"))).StatusCode);
        using var channel = EdgeFarmClient.CreateChannel(host.Address, FarmAccess.Load(null, authority));
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, (await new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest())).Status);
    }

    [Fact]
    public void What_a_client_cannot_use_as_token_or_authority_is_named()
    {
        Assert.Contains("'absent'", Assert.Throws<InvalidDataException>(() => FarmAccess.Load("absent", null)).Message, StringComparison.Ordinal);
        Assert.Contains("one token", Assert.Throws<InvalidDataException>(() => FarmAccess.Load(Write("two", "one two"), null)).Message, StringComparison.Ordinal);
        Assert.Contains("holds no certificate", Assert.Throws<InvalidDataException>(() => FarmAccess.Load(null, Write("ca", "nothing"))).Message, StringComparison.Ordinal);
        Assert.False(FarmAccess.Load(null, null).HasToken);
    }

    private string Write(string name, string content)
    {
        var path = Path.Combine(_folder.FullName, name);
        File.WriteAllText(path, content);
        return path;
    }

    /// <summary>An authority and a certificate of its for 127.0.0.1, as PEM files; returns the authority's.</summary>
    private string WriteCertificates()
    {
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authority = new CertificateRequest("CN=EdgeFarm test authority", authorityKey, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        authority.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        using var signer = authority.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(signer, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(20), [1, 2, 3, 4]);
        Write("server.pem", certificate.ExportCertificatePem());
        Write("server.key", key.ExportPkcs8PrivateKeyPem());
        return Write("ca.pem", signer.ExportCertificatePem());
    }
}
