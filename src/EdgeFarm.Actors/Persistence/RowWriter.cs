using System.Data.Common;
using System.Text;
using Microsoft.Data.Sqlite;
using Npgsql;
using NpgsqlTypes;
using SQLitePCL;

namespace EdgeFarm.Actors.Persistence;

/// <summary>What a column of <see cref="RowStatement"/> holds.</summary>
internal enum ColumnType
{
    /// <summary>UTF-8 text.</summary>
    Text,

    /// <summary>A number of at most 32 bits.</summary>
    Integer,

    /// <summary>A number of at most 64 bits.</summary>
    Bigint,

    /// <summary>Bytes.</summary>
    Bytes,
}

/// <summary>Inserts rows, or changes some columns of those whose key is there.</summary>
/// <param name="Table">The table.</param>
/// <param name="Key">Its primary key.</param>
/// <param name="Columns">What is written, the key among them.</param>
/// <param name="Updated">Names of the columns that change when the row is there already.</param>
internal sealed record RowStatement(string Table, string Key, (string Name, ColumnType Type)[] Columns, string[] Updated)
{
    /// <summary>The statement without where its values come from.</summary>
    public string Sql(string values) =>
        $"insert into {Table} ({string.Join(", ", Columns.Select(c => c.Name))}) {values} "
        + $"on conflict ({Key}) do update set {string.Join(", ", Updated.Select(c => $"{c} = excluded.{c}"))}";
}

/// <summary>
/// Writes many rows within a transaction. ADO.NET's SQLite provider looks every parameter up by name and allocates for each; here values
/// go to the prepared statement by their place. PostgreSQL gets all rows as arrays in one statement, so their keys must differ.
/// </summary>
internal abstract class RowWriter : IDisposable
{
    /// <summary>Begins to write; nothing may be taken for written before <see cref="FlushAsync"/>.</summary>
    public static RowWriter Open(DbConnection connection, DbTransaction transaction, RowStatement statement) => connection is SqliteConnection sqlite
        ? new SqliteRowWriter(sqlite, statement)
        : new PostgresRowWriter((NpgsqlConnection)connection, (NpgsqlTransaction)transaction, statement);

    /// <summary>Sets a column of the coming row.</summary>
    public abstract void Set(int column, string text);

    /// <summary>Sets a column of the coming row to UTF-8 text or to bytes, as the column's type says.</summary>
    public abstract void Set(int column, ReadOnlySpan<byte> bytes);

    /// <summary>Sets a column of the coming row.</summary>
    public abstract void Set(int column, long number);

    /// <summary>Ends the row; every column must have been set.</summary>
    public abstract void Add();

    /// <summary>Sends what has not been sent.</summary>
    public abstract Task FlushAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract void Dispose();

    private sealed class SqliteRowWriter : RowWriter
    {
        private readonly sqlite3 _connection;
        private readonly sqlite3_stmt _statement;
        private readonly RowStatement _rows;

        public SqliteRowWriter(SqliteConnection connection, RowStatement rows)
        {
            _rows = rows;
            _connection = connection.Handle!;
            var sql = rows.Sql($"values ({string.Join(", ", rows.Columns.Select((_, i) => $"?{i + 1}"))})");
            Check(raw.sqlite3_prepare_v2(_connection, sql, out _statement));
        }

        public override void Set(int column, string text) => Check(raw.sqlite3_bind_text(_statement, column + 1, text));

        public override void Set(int column, ReadOnlySpan<byte> bytes) => Check(
            _rows.Columns[column].Type == ColumnType.Text
                ? raw.sqlite3_bind_text(_statement, column + 1, bytes)
                : raw.sqlite3_bind_blob(_statement, column + 1, bytes));

        public override void Set(int column, long number) => Check(raw.sqlite3_bind_int64(_statement, column + 1, number));

        public override void Add()
        {
            var code = raw.sqlite3_step(_statement);
            raw.sqlite3_reset(_statement);
            if (code != raw.SQLITE_DONE)
            {
                SqliteException.ThrowExceptionForRC(code, _connection);
            }
        }

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override void Dispose() => _statement.Dispose();

        private void Check(int code) => SqliteException.ThrowExceptionForRC(code, _connection);
    }

    private sealed class PostgresRowWriter(NpgsqlConnection connection, NpgsqlTransaction transaction, RowStatement rows) : RowWriter
    {
        private readonly List<string>[] _texts = [.. rows.Columns.Select(_ => new List<string>())];
        private readonly List<long>[] _numbers = [.. rows.Columns.Select(_ => new List<long>())];
        private readonly List<byte[]>[] _bytes = [.. rows.Columns.Select(_ => new List<byte[]>())];
        private int _count;

        public override void Set(int column, string text) => _texts[column].Add(text);

        public override void Set(int column, ReadOnlySpan<byte> bytes)
        {
            if (rows.Columns[column].Type == ColumnType.Text)
            {
                _texts[column].Add(Encoding.UTF8.GetString(bytes));
            }
            else
            {
                _bytes[column].Add(bytes.ToArray());
            }
        }

        public override void Set(int column, long number) => _numbers[column].Add(number);

        public override void Add() => _count++;

        public override async Task FlushAsync(CancellationToken cancellationToken)
        {
            if (_count == 0)
            {
                return;
            }

            await using var command = connection.CreateCommand();
            command.Transaction = transaction;
            command.CommandText = rows.Sql($"select * from unnest({string.Join(", ", rows.Columns.Select((_, i) => $"${i + 1}"))})");
            for (var i = 0; i < rows.Columns.Length; i++)
            {
                command.Parameters.Add(rows.Columns[i].Type switch
                {
                    ColumnType.Text => Array(NpgsqlDbType.Text, _texts[i]),
                    ColumnType.Integer => Array(NpgsqlDbType.Integer, _numbers[i].ConvertAll(n => (int)n)),
                    ColumnType.Bigint => Array(NpgsqlDbType.Bigint, _numbers[i]),
                    _ => Array(NpgsqlDbType.Bytea, _bytes[i]),
                });
            }

            await command.ExecuteNonQueryAsync(cancellationToken);
            foreach (var column in _texts)
            {
                column.Clear();
            }

            foreach (var column in _numbers)
            {
                column.Clear();
            }

            foreach (var column in _bytes)
            {
                column.Clear();
            }

            _count = 0;
        }

        public override void Dispose()
        {
        }

        private static NpgsqlParameter Array<T>(NpgsqlDbType type, List<T> values) => new() { NpgsqlDbType = NpgsqlDbType.Array | type, Value = values };
    }
}
