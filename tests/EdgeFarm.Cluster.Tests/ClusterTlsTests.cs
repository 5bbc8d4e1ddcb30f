using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Cluster.Tests.Harness;
using EdgeFarm.Tests.Shared;

namespace EdgeFarm.Cluster.Tests;

/// <summary>Two coordinators that speak TLS with each other, and one that has a certificate of the same authority for another name.</summary>
[Collection(ClusterCollection.Name)]
public sealed class ClusterTlsTests
{
    [SkippableFact]
    public async Task Coordinators_speak_TLS_with_each_other_and_take_no_one_else()
    {
        Skip.If(PostgresServer.Missing is not null, PostgresServer.Missing);
        var directory = Directory.CreateTempSubdirectory("edgefarm-cluster-tls-").FullName;
        var database = await PostgresServer.StartAsync(directory);
        try
        {
            using var authority = Certificates.MakeAuthority();
            File.WriteAllText(Path.Combine(directory, "ca.pem"), authority.ExportCertificatePem());
            Certificates.Write(authority, directory, "farm", "farm.example");
            Certificates.Write(authority, directory, "other", "other.example");
            int[] ports = [ClusterNode.FreePort(), ClusterNode.FreePort(), ClusterNode.FreePort()];
            await using var first = new TlsCoordinator(directory, "first", "farm", ports, 0, database.ConnectionString);
            await using var second = new TlsCoordinator(directory, "second", "farm", ports, 1, database.ConnectionString);
            await Task.WhenAll(first.UpAsync(2), second.UpAsync(2));

            // A coordinator with the wrong name goes unheard.
            await using var stranger = new TlsCoordinator(directory, "stranger", "other", ports, 2, database.ConnectionString);
            await stranger.UntilAsync(() => Task.FromResult(stranger.Process.Log.Contains("no coordinator of this farm", StringComparison.Ordinal)), "the stranger is refused");

            // So does one that itself takes anybody.
            await AssertRefusedAsync(ports[0], Path.Combine(directory, "other"));
            await AssertRefusedAsync(ports[0], null);
            await Task.WhenAll(first.UpAsync(2), second.UpAsync(2));
            Assert.Equal(0, await second.Process.TerminateAsync());
        }
        finally
        {
            await database.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>The connection ends before a byte comes: at the handshake, or right after it, where TLS 1.3 tells.</summary>
    private static async Task AssertRefusedAsync(int port, string? certificate)
    {
        using var limit = new CancellationTokenSource(Cli.Patience);
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port, limit.Token);
        await using var tls = new SslStream(client.GetStream());
        using var shown = certificate is null ? null : X509Certificate2.CreateFromPemFile($"{certificate}.pem", $"{certificate}.key");
        try
        {
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions
                {
                    TargetHost = "farm.example",
                    ClientCertificates = shown is null ? null : [shown],
                    RemoteCertificateValidationCallback = (_, theirs, _, _) => theirs is not null,
                },
                limit.Token);
            Assert.Equal(0, await tls.ReadAsync(new byte[1], limit.Token));
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            // Refused.
        }
    }

    private sealed class TlsCoordinator : IAsyncDisposable
    {
        private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(5) };
        private readonly int _http = ClusterNode.FreePort();

        public TlsCoordinator(string directory, string name, string certificate, int[] ports, int index, string database) => Process = CliProcess.Start(
            directory,
            new Dictionary<string, string>
            {
                ["EDGEFARM__DATABASE__PROVIDER"] = "postgresql",
                ["EDGEFARM__DATABASE__CONNECTIONSTRING"] = database,
                ["EDGEFARM__ARTIFACTS__DIRECTORY"] = Path.Combine(directory, "artifacts"),
                ["EDGEFARM__CLUSTER__HOST"] = "127.0.0.1",
                ["EDGEFARM__CLUSTER__PORT"] = $"{ports[index]}",
                ["EDGEFARM__CLUSTER__SEEDS"] = string.Join(',', ports.Select(p => $"127.0.0.1:{p}")),
                ["EDGEFARM__CLUSTER__AUTHORITY"] = Path.Combine(directory, "ca.pem"),
                ["EDGEFARM__TLS__CERTIFICATE"] = Path.Combine(directory, $"{certificate}.pem"),
                ["EDGEFARM__TLS__KEY"] = Path.Combine(directory, $"{certificate}.key"),
            },
            null,
            ["coordinator", "--listen", $"https://127.0.0.1:{ClusterNode.FreePort()}", "--http", $"http://127.0.0.1:{_http}", "--data", Path.Combine(directory, name), "--verbose"]);

        public CliProcess Process { get; }

        public Task UpAsync(int members) => UntilAsync(
            async () => (await TryGetAsync()).Split("\"Up\"").Length - 1 == members, $"{members} coordinators are Up");

        public async Task UntilAsync(Func<Task<bool>> condition, string what)
        {
            using var limit = new CancellationTokenSource(Cli.Patience);
            while (!await condition())
            {
                Assert.False(limit.IsCancellationRequested, $"not within {Cli.Patience}: {what}\n{Process.Log}");
                await Task.Delay(100);
            }
        }

        public ValueTask DisposeAsync() => Process.DisposeAsync();

        private async Task<string> TryGetAsync()
        {
            try
            {
                return await Http.GetStringAsync(new Uri($"http://127.0.0.1:{_http}/cluster"));
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException or IOException)
            {
                return "";
            }
        }
    }

    private static class Certificates
    {
        public static X509Certificate2 MakeAuthority()
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("CN=EdgeFarm test authority", key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
        }

        public static void Write(X509Certificate2 authority, string directory, string file, string name)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(name);
            request.CertificateExtensions.Add(names.Build());
            using var certificate = request.Create(authority, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(20), RandomNumberGenerator.GetBytes(8));
            File.WriteAllText(Path.Combine(directory, $"{file}.pem"), certificate.ExportCertificatePem());
            File.WriteAllText(Path.Combine(directory, $"{file}.key"), key.ExportPkcs8PrivateKeyPem());
        }
    }
}
