using System.Net;
using System.Net.Sockets;
using EdgeFarm.Artifacts;

namespace EdgeFarm.Cli.Tests;

/// <summary>A farm that dies while bytes move: exit code 3, as for one that was never there.</summary>
public sealed class DyingFarmTests : CliHarness
{
    private const int Size = 8 << 20;

    [Fact]
    public async Task A_pull_that_loses_the_farm_is_exit_code_3()
    {
        var stored = (await Server.Store.ImportAsync(WriteBytes("source.bin"), ImportMode.Copy, CancellationToken.None)).Value;
        using var cut = new CuttingProxy(Server.Address.Port, fromServer: Size / 2);
        var (code, _, error) = await RunAsync("pull", stored.Digest.ToString(), "-o", Path.Combine(Folder, "target.bin"), "--farm", $"http://127.0.0.1:{cut.Port}");

        Assert.Equal((3, true), (code, error.Contains("no farm answers at", StringComparison.Ordinal)));
        Assert.False(File.Exists(Path.Combine(Folder, "target.bin")));

        // The next pull goes on with what has arrived.
        (code, _, error) = await ClientAsync("pull", stored.Digest.ToString(), "-o", Path.Combine(Folder, "target.bin"));
        Assert.True(code == 0, error);
    }

    [Fact]
    public async Task An_upload_that_loses_the_farm_is_exit_code_3()
    {
        WriteBytes("my.gguf");
        var path = WriteSweep(Yaml.Replace("bundled:edgefarm-tiny", "file:my.gguf", StringComparison.Ordinal));
        using var cut = new CuttingProxy(Server.Address.Port, toServer: Size / 2);
        var (code, _, error) = await RunAsync("submit", path, "--farm", $"http://127.0.0.1:{cut.Port}");
        Assert.True(code == 3, error);
    }

    private string WriteBytes(string name)
    {
        var path = Path.Combine(Folder, name);
        var bytes = new byte[Size];
        new Random(1).NextBytes(bytes);
        "GGUF"u8.CopyTo(bytes);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Hands bytes on until there were so many of one direction; then connections break and nobody listens any more.</summary>
    private sealed class CuttingProxy : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly int _target;
        private readonly CancellationTokenSource _cut = new();
        private long _fromServer;
        private long _toServer;

        public CuttingProxy(int target, long fromServer = long.MaxValue, long toServer = long.MaxValue)
        {
            (_target, _fromServer, _toServer) = (target, fromServer, toServer);
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _ = AcceptAsync();
        }

        public int Port { get; }

        public void Dispose()
        {
            _cut.Cancel();
            _listener.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    _ = ServeAsync(await _listener.AcceptTcpClientAsync(_cut.Token));
                }
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            using var server = new TcpClient();
            using (client)
            {
                await server.ConnectAsync(IPAddress.Loopback, _target);
                await Task.WhenAny(
                    CopyAsync(server.GetStream(), client.GetStream(), count => Interlocked.Add(ref _fromServer, -count)),
                    CopyAsync(client.GetStream(), server.GetStream(), count => Interlocked.Add(ref _toServer, -count)));
            }
        }

        private async Task CopyAsync(NetworkStream from, NetworkStream to, Func<int, long> left)
        {
            var buffer = new byte[64 * 1024];
            try
            {
                while (await from.ReadAsync(buffer, _cut.Token) is > 0 and var read)
                {
                    if (left(read) < 0)
                    {
                        Dispose();
                        return;
                    }

                    await to.WriteAsync(buffer.AsMemory(0, read), _cut.Token);
                }
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
            {
            }
        }
    }
}
