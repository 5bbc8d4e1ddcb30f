using Akka.Configuration;

namespace EdgeFarm.Actors.Persistence;

/// <summary>Akka.Persistence.Sql on the farm's database, as configuration.</summary>
internal static class PersistenceConfig
{
    /// <summary>
    /// Journal, snapshot store and read journal. Both tag modes are Csv, because the farm reads all events and writes no tags; the
    /// default makes a table of tags and joins it. On PostgreSQL <see cref="FarmDatabase"/> makes the tables, on SQLite the
    /// plugin does. Both delays of the read side are 50 ms: either alone leaves it at 1 s.
    /// </summary>
    public static Config For(FarmDatabaseOptions options)
    {
        var (provider, parallelism) = options.Kind == DatabaseKind.Sqlite ? ("SQLite.MS", 1) : ("PostgreSQL.15", 3);
        var initialize = options.Kind == DatabaseKind.Sqlite ? "on" : "off";
        var connection = $"connection-string = \"{Escape(options.ConnectionString)}\"\nprovider-name = \"{provider}\"\nauto-initialize = {initialize}";
        return ConfigurationFactory.ParseString(
            $$"""
            akka.persistence.journal {
              plugin = "akka.persistence.journal.sql"
              sql {
                class = "Akka.Persistence.Sql.Journal.SqlWriteJournal, Akka.Persistence.Sql"
                {{connection}}
                parallelism = {{parallelism}}
                tag-write-mode = Csv

                # More rows than this go to the database as literals in one text; a large plan is faster row by row.
                max-row-by-row-size = 1000000

                # Events of a large plan have a thousand jobs each.
                replay-batch-size = 100

                # A database that restarts is back within seconds. A plan of a million jobs is one write, which takes longer than the 10 s that
                # a call has by default.
                circuit-breaker {
                  reset-timeout = 3s
                  call-timeout = 2m
                }
              }
            }
            akka.persistence.snapshot-store {
              plugin = "akka.persistence.snapshot-store.sql"
              sql {
                class = "Akka.Persistence.Sql.Snapshot.SqlSnapshotStore, Akka.Persistence.Sql"
                {{connection}}
                circuit-breaker.reset-timeout = 3s
              }
            }
            akka.persistence.query.journal.sql {
              class = "Akka.Persistence.Sql.Query.SqlReadJournalProvider, Akka.Persistence.Sql"
              {{connection}}
              write-plugin = "akka.persistence.journal.sql"
              parallelism = {{parallelism}}
              tag-read-mode = Csv
              refresh-interval = 50ms
              journal-sequence-retrieval.query-delay = 50ms
            }
            """);
    }

    private static string Escape(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
}
