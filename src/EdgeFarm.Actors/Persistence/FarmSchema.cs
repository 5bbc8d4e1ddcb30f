using System.Text.RegularExpressions;

namespace EdgeFarm.Actors.Persistence;

/// <summary>EdgeFarm's own tables, in SQL that SQLite and PostgreSQL both read. Times are Unix milliseconds.</summary>
internal static partial class FarmSchema
{
    /// <summary>The table or index that a statement makes where it is missing, or drops where it is there.</summary>
    public static (string Name, bool IsDropped) ObjectOf(string statement) => Object().Match(statement) is { Success: true } found
        ? (found.Groups["name"].Value, found.Groups["drop"].Success)
        : throw new InvalidOperationException($"the schema holds a statement that neither makes nor drops anything: {statement}");

    [GeneratedRegex(@"^\s*(?:create (?:unique )?(?:table|index) if not exists|(?<drop>drop) (?:table|index) if exists) (?<name>\w+)")]
    private static partial Regex Object();

    /// <summary>A failed job's status as the rows and their index have it.</summary>
    public const string FailedJob = "5";

    /// <summary>Tables that the projection can make again from the journal.</summary>
    public static readonly string[] ReadModelTables = ["farm_sweeps", "farm_sweep_labels", "farm_sweep_sources", "farm_jobs", "farm_entries", "farm_metrics", "farm_offsets"];

    /// <summary>Beside the journal: what cannot be made again.</summary>
    public static readonly string[] Statements =
    [
        """
        create table if not exists farm_requests (
          request_id text primary key, content_digest text not null, sweep text not null, created_at bigint not null)
        """,
        "create table if not exists farm_counters (name text primary key, value bigint not null)",
    ];

    /// <summary>
    /// Journal and snapshots as Akka.Persistence.Sql has them on PostgreSQL (a test compares). Its own initialization changes the table at
    /// every start, for which it waits until nobody reads it, while everybody waits for it: a dump that runs, or a coordinator that was cut off
    /// in the middle of a transaction, would stop the farm.
    /// </summary>
    public static readonly string[] PostgreSqlJournalStatements =
    [
        """
        create table if not exists journal (
          ordering bigint generated always as identity, created bigint not null, deleted boolean not null, persistence_id text not null,
          sequence_number bigint not null, message bytea not null, tags text, manifest text, identifier integer, writer_uuid text,
          constraint "PK_journal" primary key (ordering), constraint journal_uq unique (persistence_id, sequence_number))
        """,
        "create index if not exists journal_sequence_number_idx on journal (sequence_number)",
        "create index if not exists journal_created_idx on journal (created)",
        """
        create table if not exists snapshot (
          persistence_id text not null, sequence_number bigint not null, created bigint not null, snapshot bytea, manifest text,
          serializer_id integer, constraint "PK_snapshot" primary key (persistence_id, sequence_number))
        """,
        "create index if not exists snapshot_sequence_number_idx on snapshot (sequence_number)",
        "create index if not exists snapshot_created_idx on snapshot (created)",
    ];

    /// <summary>What the projection writes.</summary>
    public static readonly string[] RowStatements =
    [
        """
        create table if not exists farm_results (
          action text primary key, kind text not null, operation text not null, engine text not null,
          components text not null, outcome blob not null, job text not null, created_at bigint not null)
        """,
        "create index if not exists farm_results_operation on farm_results (operation, engine)",
        "create table if not exists farm_offsets (name text primary key, position bigint not null)",
        """
        create table if not exists farm_sweeps (
          id text primary key, status integer not null, created_at bigint not null, document text not null, yaml text not null)
        """,
        "create index if not exists farm_sweeps_newest on farm_sweeps (created_at, id)",
        "create index if not exists farm_sweeps_status on farm_sweeps (status)",
        "create table if not exists farm_sweep_labels (sweep text not null, name text not null, value text not null, primary key (sweep, name))",
        "create index if not exists farm_sweep_labels_value on farm_sweep_labels (name, value, sweep)",
        "create table if not exists farm_sweep_sources (sweep text not null, id text not null, artifact text not null, primary key (sweep, id))",
        """
        create table if not exists farm_jobs (
          id text primary key, sweep text not null, ordinal integer not null, status integer not null, document text not null)
        """,
        "create unique index if not exists farm_jobs_order on farm_jobs (sweep, ordinal)",

        // Of jobs by status only the failed ones are asked for; an index of all would be written twice for each job.
        "drop index if exists farm_jobs_status",
        $"create index if not exists farm_jobs_failed on farm_jobs (sweep, ordinal) where status = {FailedJob}",
        """
        create table if not exists farm_entries (
          id text primary key, sweep text not null, sweep_created_at bigint not null, ordinal integer not null, model text not null,
          toolchain text not null, runtime text not null, form text not null, target text not null, device text not null,
          device_class text not null, baseline integer not null, pareto integer not null, series text not null, measured_at bigint,
          document text not null)
        """,
        "create index if not exists farm_entries_order on farm_entries (sweep_created_at, sweep, ordinal)",
        "create unique index if not exists farm_entries_sweep on farm_entries (sweep, ordinal)",
        "create index if not exists farm_entries_model on farm_entries (model, form)",
        "create index if not exists farm_entries_series on farm_entries (series, measured_at)",
        """
        create table if not exists farm_metrics (
          entry text not null, name text not null, value double precision not null, primary key (entry, name))
        """,
        "create index if not exists farm_metrics_value on farm_metrics (name, value, entry)",
    ];
}
