using System.Data.Common;
using System.Globalization;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace EdgeFarm.Actors.Persistence;

/// <summary>Which database keeps journal, snapshots, read model and result cache.</summary>
public enum DatabaseKind
{
    /// <summary>Files; for the embedded farm.</summary>
    Sqlite = 0,

    /// <summary>A server; for the cluster.</summary>
    PostgreSql = 1,
}

/// <summary>Where the farm's tables are.</summary>
/// <param name="Kind">Database product.</param>
/// <param name="ConnectionString">Of the journal, as its ADO.NET provider reads it.</param>
/// <param name="RowsConnectionString">
/// Of what the projection writes. SQLite has one writer a file, and who finds it taken sleeps and tries again; in a file of their own the
/// rows never hold up the journal. On PostgreSQL it is the journal's.
/// </param>
public sealed record FarmDatabaseOptions(DatabaseKind Kind, string ConnectionString, string RowsConnectionString)
{
    /// <summary>A SQLite file for the journal and one beside it for the rows (<c>farm.db</c>, <c>farm.rows.db</c>); their directory must exist.</summary>
    public static FarmDatabaseOptions SqliteFile(string path) => new(DatabaseKind.Sqlite, File(path), File(Path.ChangeExtension(path, $".rows{Path.GetExtension(path)}")));

    /// <summary>A PostgreSQL database. <c>Options</c> of the connection string win over those that EdgeFarm sets for its sessions.</summary>
    public static FarmDatabaseOptions PostgreSql(string connectionString)
    {
        var parts = new NpgsqlConnectionStringBuilder(connectionString);
        parts.Options = $"{PostgreSqlSession} {parts.Options}".TrimEnd();
        return new FarmDatabaseOptions(DatabaseKind.PostgreSql, parts.ConnectionString, parts.ConnectionString);
    }

    /// <summary>
    /// A coordinator whose packets go nowhere closes no connection: its open transaction would keep its locks for hours, and a projection
    /// elsewhere would wait for them. EdgeFarm's own transactions never pause for long.
    /// </summary>
    private const string PostgreSqlSession = "-c idle_in_transaction_session_timeout=10s -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10";

    private static string File(string path) =>
        new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadWriteCreate }.ConnectionString;
}

/// <summary>Opens connections and makes the tables that EdgeFarm itself reads (the journal's are made by its plugin).</summary>
/// <param name="options">Where the tables are.</param>
public sealed class FarmDatabase(FarmDatabaseOptions options)
{
    // WAL lasts in the file; synchronous and the busy handler are the connection's own. FULL, because a worker forgets a result once it
    // is acknowledged: with NORMAL a power cut could take a committed transaction back.
    internal const string SqlitePragmas = "PRAGMA synchronous=FULL; PRAGMA busy_timeout=15000;";

    // Rows and their offset are taken back together, and the journal makes them again. Keys of the result cache are digests, so each new
    // one falls into another page: the pages stay in memory (KiB, below 0), and the log is copied into the file when it is large (pages).
    private const string SqliteRowsPragmas =
        "PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=15000; PRAGMA cache_size=-32768; PRAGMA wal_autocheckpoint=8192;";

    // Any number that nothing else in the database takes a lock on.
    private const long SchemaLock = 0x4564676546617231;

    /// <summary>Where the tables are.</summary>
    public FarmDatabaseOptions Options { get; } = options;

    /// <summary>Opens a connection to the journal and what else cannot be made again.</summary>
    public Task<DbConnection> OpenAsync(CancellationToken cancellationToken) => OpenAsync(Options.ConnectionString, SqlitePragmas, cancellationToken);

    /// <summary>Opens a connection to what the projection writes: read model and result cache.</summary>
    public Task<DbConnection> OpenRowsAsync(CancellationToken cancellationToken) =>
        OpenAsync(Options.RowsConnectionString, SqliteRowsPragmas, cancellationToken);

    /// <summary>Makes what is missing. Runs before the actor system starts, because WAL cannot be switched on under open transactions.</summary>
    public async Task InitializeAsync(CancellationToken cancellationToken)
    {
        await using (var journal = await OpenAsync(cancellationToken))
        {
            string[] statements = Options.Kind == DatabaseKind.PostgreSql ? [.. FarmSchema.PostgreSqlJournalStatements, .. FarmSchema.Statements] : FarmSchema.Statements;
            await InitializeAsync(journal, statements, cancellationToken);
        }

        await using var rows = await OpenRowsAsync(cancellationToken);
        await InitializeAsync(rows, FarmSchema.RowStatements, cancellationToken);
    }

    private async Task InitializeAsync(DbConnection connection, string[] statements, CancellationToken cancellationToken)
    {
        if (Options.Kind == DatabaseKind.Sqlite)
        {
            await connection.RunAsync("PRAGMA journal_mode=WAL", cancellationToken);
            foreach (var statement in statements)
            {
                await connection.RunAsync(statement, cancellationToken);
            }

            return;
        }

        // Coordinators start at once, and 'if not exists' alone fails when two make one table. The lock goes with the transaction's end.
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await connection.RunAsync($"select pg_advisory_xact_lock({SchemaLock})", cancellationToken);
        foreach (var statement in statements)
        {
            // What is there is left alone: even 'if not exists' would wait for whoever writes to the table.
            var (name, isDropped) = FarmSchema.ObjectOf(statement);
            if (await ExistsAsync(connection, name, cancellationToken) == isDropped)
            {
                // The one difference in the schema: the name of the type for bytes.
                await connection.RunAsync(statement.Replace(" blob", " bytea", StringComparison.Ordinal), cancellationToken);
            }
        }

        await transaction.CommitAsync(cancellationToken);
    }

    private static async Task<bool> ExistsAsync(DbConnection connection, string name, CancellationToken cancellationToken) =>
        (await connection.Command("select to_regclass(@name) is not null", ("name", name)).ReadAsync(r => r.GetBoolean(0), cancellationToken))[0];

    private async Task<DbConnection> OpenAsync(string connectionString, string pragmas, CancellationToken cancellationToken)
    {
        DbConnection connection = Options.Kind == DatabaseKind.Sqlite ? new SqliteConnection(connectionString) : new NpgsqlConnection(connectionString);
        try
        {
            await connection.OpenAsync(cancellationToken);
            if (Options.Kind == DatabaseKind.Sqlite)
            {
                await connection.RunAsync(pragmas, cancellationToken);
            }

            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }
}

/// <summary>The few ADO.NET phrases that are used here.</summary>
internal static class DatabaseExtensions
{
    public static DbCommand Command(this DbConnection connection, string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters)
        {
            command.With(name, value);
        }

        return command;
    }

    public static DbCommand With(this DbCommand command, string name, object? value)
    {
        var parameter = command.CreateParameter();
        parameter.ParameterName = name;
        parameter.Value = value ?? DBNull.Value;
        command.Parameters.Add(parameter);
        return command;
    }

    public static async Task<int> RunAsync(this DbConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = connection.Command(sql);
        return await command.ExecuteNonQueryAsync(cancellationToken);
    }

    public static async Task<int> RunAsync(this DbCommand command, DbTransaction? transaction, CancellationToken cancellationToken)
    {
        await using (command)
        {
            command.Transaction = transaction;
            return await command.ExecuteNonQueryAsync(cancellationToken);
        }
    }

    public static async Task<List<T>> ReadAsync<T>(this DbCommand command, Func<DbDataReader, T> read, CancellationToken cancellationToken)
    {
        await using (command)
        {
            await using var reader = await command.ExecuteReaderAsync(cancellationToken);
            var rows = new List<T>();
            while (await reader.ReadAsync(cancellationToken))
            {
                rows.Add(read(reader));
            }

            return rows;
        }
    }

    public static long UnixMilliseconds(this DateTimeOffset time) => time.ToUnixTimeMilliseconds();

    public static string Invariant(this long number) => number.ToString(CultureInfo.InvariantCulture);
}
