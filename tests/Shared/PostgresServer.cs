using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace EdgeFarm.Tests.Shared;

/// <summary>Debian's PostgreSQL on a directory and port of its own.</summary>
internal sealed class PostgresServer : IAsyncDisposable
{
    private const string Root = "/usr/lib/postgresql";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    private readonly string _binaries;
    private readonly string _data;
    private readonly string _address;
    private readonly int _port;
    private Process _server;

    private PostgresServer(string binaries, string data, string address, int port)
    {
        (_binaries, _data, _address, _port) = (binaries, data, address, port);
        _server = Launch();
    }

    /// <summary>Why it cannot be used here; null when it can.</summary>
    public static string? Missing => FindBinaries() is null ? $"PostgreSQL is not installed under {Root} (apt-get install postgresql)" : null;

    public string ConnectionString => $"Host={_address};Port={_port};Username=farm;Database=postgres";

    /// <param name="directory">Where its data goes.</param>
    /// <param name="address">Where it listens.</param>
    /// <param name="clients">Network from which it lets anybody in, beside loopback; null for none.</param>
    /// <param name="port">Where it listens; 0 for any.</param>
    public static async Task<PostgresServer> StartAsync(string directory, string address = "127.0.0.1", string? clients = null, int port = 0)
    {
        var binaries = FindBinaries() ?? throw new InvalidOperationException(Missing);
        var data = Path.Combine(directory, "postgres");
        Directory.CreateDirectory(data);

        // The server refuses to run as root; the package brings a user for it.
        if (IsRoot)
        {
            using var enter = Process.Start("chmod", ["755", directory]);
            await enter.WaitForExitAsync();
            using var own = Process.Start("chown", ["postgres", data]);
            await own.WaitForExitAsync();
        }

        using (var init = Run(binaries, data, "initdb", "-D", data, "-U", "farm", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"))
        {
            await init.WaitForExitAsync();
            Assert.Equal(0, init.ExitCode);
        }

        if (clients is not null)
        {
            await File.AppendAllTextAsync(Path.Combine(data, "pg_hba.conf"), $"host all all {clients} trust\n");
        }

        var server = new PostgresServer(binaries, data, address, port == 0 ? FreePort() : port);
        await server.UntilItAnswersAsync();
        return server;
    }

    /// <summary>Stops it at once: transactions are rolled back and connections cut, as at an upgrade.</summary>
    public async Task StopAsync()
    {
        using var stop = Run(_binaries, _data, "pg_ctl", "-D", _data, "-m", "fast", "-w", "stop");
        await stop.WaitForExitAsync();
        Assert.Equal(0, stop.ExitCode);
        await _server.WaitForExitAsync();
        _server.Dispose();
    }

    /// <summary>Starts it again on the same data and port.</summary>
    public async Task StartAgainAsync()
    {
        _server = Launch();
        await UntilItAnswersAsync();
    }

    public async ValueTask DisposeAsync()
    {
        NpgsqlConnection.ClearAllPools();
        _server.Kill(entireProcessTree: true);
        await _server.WaitForExitAsync();
        _server.Dispose();
    }

    private static bool IsRoot => Environment.UserName == "root";

    private static string? FindBinaries() => Directory.Exists(Root)
        ? Directory.GetDirectories(Root).Select(d => Path.Combine(d, "bin")).FirstOrDefault(d => File.Exists(Path.Combine(d, "initdb")))
        : null;

    private static Process Run(string binaries, string data, string program, params string[] arguments)
    {
        var path = Path.Combine(binaries, program);
        var start = IsRoot
            ? new ProcessStartInfo("setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", path, .. arguments])
            : new ProcessStartInfo(path, arguments);
        start.WorkingDirectory = data;
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private Process Launch() =>
        Run(_binaries, _data, "postgres", "-D", _data, "-p", $"{_port}", "-c", $"listen_addresses={_address}", "-c", $"unix_socket_directories={_data}");

    private async Task UntilItAnswersAsync()
    {
        var clock = Stopwatch.StartNew();
        while (!await AnswersAsync())
        {
            Assert.False(_server.HasExited, $"PostgreSQL ended with {(_server.HasExited ? _server.ExitCode : 0)}");
            Assert.True(clock.Elapsed < Limit, "PostgreSQL does not answer");
            await Task.Delay(50);
        }
    }

    private async Task<bool> AnswersAsync()
    {
        try
        {
            await using var connection = new NpgsqlConnection(ConnectionString + ";Pooling=false");
            await connection.OpenAsync();
            return true;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
