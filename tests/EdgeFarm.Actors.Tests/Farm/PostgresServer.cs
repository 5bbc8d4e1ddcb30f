using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace EdgeFarm.Actors.Tests.Farm;

/// <summary>Debian's PostgreSQL on a directory and loopback port of its own; the test skips where it is not installed.</summary>
internal sealed class PostgresServer : IAsyncDisposable
{
    private const string Root = "/usr/lib/postgresql";

    private readonly Process _server;

    private PostgresServer(Process server, string connectionString) => (_server, ConnectionString) = (server, connectionString);

    public string ConnectionString { get; }

    public static async Task<PostgresServer> StartAsync(string directory)
    {
        var binaries = Directory.Exists(Root)
            ? Directory.GetDirectories(Root).Select(d => Path.Combine(d, "bin")).FirstOrDefault(d => File.Exists(Path.Combine(d, "initdb")))
            : null;
        Skip.If(binaries is null, $"no PostgreSQL under {Root}");
        var data = Path.Combine(directory, "postgres");
        Directory.CreateDirectory(data);

        // The server refuses to run as root; the package brings a user for it.
        var isRoot = Environment.UserName == "root";
        if (isRoot)
        {
            using var enter = Process.Start("chmod", ["755", directory]);
            await enter.WaitForExitAsync();
            using var own = Process.Start("chown", ["postgres", data]);
            await own.WaitForExitAsync();
        }

        Process Run(string program, params string[] arguments)
        {
            var path = Path.Combine(binaries, program);
            var start = isRoot
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

        using (var init = Run("initdb", "-D", data, "-U", "farm", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"))
        {
            await init.WaitForExitAsync();
            Assert.Equal(0, init.ExitCode);
        }

        var port = FreePort();
        var server = Run("postgres", "-D", data, "-p", $"{port}", "-c", "listen_addresses=127.0.0.1", "-c", $"unix_socket_directories={data}");
        var connection = $"Host=127.0.0.1;Port={port};Username=farm;Database=postgres";
        await Wait.UntilAsync(() => AnswersAsync(connection), "PostgreSQL answers");
        return new PostgresServer(server, connection);
    }

    public async ValueTask DisposeAsync()
    {
        NpgsqlConnection.ClearAllPools();
        _server.Kill(entireProcessTree: true);
        await _server.WaitForExitAsync();
        _server.Dispose();
    }

    private static async Task<bool> AnswersAsync(string connectionString)
    {
        try
        {
            await using var connection = new NpgsqlConnection(connectionString);
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
