using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using EdgeFarm.Cluster.Tests.Harness;
using Xunit.Abstractions;

namespace EdgeFarm.Cluster.Tests;

/// <summary>
/// A farm behind Debian's nginx with TLS at its default timeouts (60 s of silence end a stream): clients and a worker reach it through
/// the proxy alone, with tokens.
/// </summary>
[Collection(ClusterCollection.Name)]
public sealed class ProxyTests(ITestOutputHelper output)
{
    private const string Nginx = "/usr/sbin/nginx";
    private const string WorkerToken = "worker-0123456789abcdef";
    private const string SubmitterToken = "submitter-0123456789abcdef";

    [SkippableFact]
    public async Task Clients_and_workers_reach_the_farm_through_nginx_with_TLS_and_tokens()
    {
        Skip.IfNot(File.Exists(Nginx), $"no nginx at {Nginx} (apt-get install nginx)");
        var directory = Directory.CreateTempSubdirectory("edgefarm-proxy-").FullName;
        string InDirectory(string name) => Path.Combine(directory, name);
        void Write(string name, string content) => File.WriteAllText(InDirectory(name), content);
        try
        {
            WriteCertificates(directory);
            Write("tokens", $"worker {WorkerToken}\nsubmitter {SubmitterToken}\n");
            Write("worker.token", WorkerToken);
            Write("submitter.token", SubmitterToken);
            var (grpc, http, tls) = (ClusterNode.FreePort(), ClusterNode.FreePort(), ClusterNode.FreePort());
            Write("nginx.conf", $$"""
                daemon off;
                pid {{directory}}/nginx.pid;
                error_log stderr;
                events {}
                http {
                  access_log off;
                  client_body_temp_path {{directory}}/body;
                  proxy_temp_path {{directory}}/proxy;
                  fastcgi_temp_path {{directory}}/fastcgi;
                  uwsgi_temp_path {{directory}}/uwsgi;
                  scgi_temp_path {{directory}}/scgi;
                  server {
                    listen 127.0.0.1:{{tls}} ssl http2;
                    ssl_certificate {{directory}}/server.pem;
                    ssl_certificate_key {{directory}}/server.key;
                    client_max_body_size 0;
                    location / { grpc_pass grpc://127.0.0.1:{{grpc}}; }
                  }
                }
                """);
            await using var coordinator = CliProcess.Start(
                directory,
                new Dictionary<string, string> { ["EDGEFARM__TOKENS"] = InDirectory("tokens") },
                null,
                "coordinator", "--listen", $"http://127.0.0.1:{grpc}", "--http", $"http://127.0.0.1:{http}", "--data", InDirectory("farm"));
            using var nginx = Process.Start(new ProcessStartInfo(Nginx, ["-p", directory, "-c", InDirectory("nginx.conf")]) { RedirectStandardError = true })!;
            nginx.ErrorDataReceived += (_, _) => { };
            nginx.BeginErrorReadLine();
            try
            {
                string[] access = ["--farm", $"https://127.0.0.1:{tls}", "--ca", InDirectory("ca.pem")];
                string[] submitter = [.. access, "--token", InDirectory("submitter.token")];
                await using var worker = CliProcess.Start(
                    directory,
                    new Dictionary<string, string> { ["EDGEFARM_MACHINE_LOCK"] = InDirectory("machine") },
                    null,
                    ["worker", .. access, "--token", InDirectory("worker.token"), "--name", "behind", "--data", InDirectory("worker")]);
                await UntilAsync(async () => (await Cli.RunAsync(directory, ["workers", .. submitter])).Output.Contains("behind", StringComparison.Ordinal), "the worker is linked", coordinator, worker);

                // Longer than the proxy's timeouts: only the link's own pings keep it open.
                var before = await LinkedAtAsync(directory, submitter);
                var clock = Stopwatch.StartNew();
                await Task.Delay(TimeSpan.FromSeconds(70));
                Assert.Equal(before, await LinkedAtAsync(directory, submitter));
                output.WriteLine($"the link stood {clock.Elapsed.TotalSeconds:0} s of silence");

                Write("sweep.yaml", SweepFiles.Llama("bundled:edgefarm-tiny", "Q4_0", "proxied"));
                (await Cli.RunAsync(directory, ["submit", InDirectory("sweep.yaml"), "--id", "proxied", "--wait", .. submitter])).Expect(0);

                // The door is behind the proxy too.
                var refused = (await Cli.RunAsync(directory, ["sweeps", .. access])).Expect(2);
                Assert.Contains("--token", refused.Errors, StringComparison.Ordinal);
                var wrongRole = (await Cli.RunAsync(directory, ["sweeps", .. access, "--token", InDirectory("worker.token")])).Expect(2);
                Assert.Contains("role", wrongRole.Errors, StringComparison.Ordinal);
                var distrusted = (await Cli.RunAsync(directory, "sweeps", "--farm", $"https://127.0.0.1:{tls}", "--token", InDirectory("submitter.token"))).Expect(3);
                Assert.Contains("--ca", distrusted.Errors, StringComparison.Ordinal);
                Assert.Equal(0, await worker.TerminateAsync());
                Assert.Equal(0, await coordinator.TerminateAsync());
            }
            finally
            {
                nginx.Kill(entireProcessTree: true);
                await nginx.WaitForExitAsync();
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static async Task<string> LinkedAtAsync(string directory, string[] access) =>
        (await Cli.RunAsync(directory, ["workers", "--json", .. access])).Expect(0).Json().GetProperty("workers").EnumerateArray().Single().GetProperty("linked_at").ToString();

    private static async Task UntilAsync(Func<Task<bool>> condition, string what, params CliProcess[] processes)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            Assert.True(clock.Elapsed < Cli.Patience, $"not within {Cli.Patience}: {what}\n{string.Join("\n---\n", processes.Select(p => p.Log))}");
            await Task.Delay(200);
        }
    }

    private static void WriteCertificates(string directory)
    {
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authority = new CertificateRequest("CN=EdgeFarm test authority", authorityKey, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var signer = authority.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(signer, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(20), [1, 2, 3, 4]);
        File.WriteAllText(Path.Combine(directory, "ca.pem"), signer.ExportCertificatePem());
        File.WriteAllText(Path.Combine(directory, "server.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(Path.Combine(directory, "server.key"), key.ExportPkcs8PrivateKeyPem());
    }
}
