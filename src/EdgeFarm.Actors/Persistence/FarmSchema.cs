namespace EdgeFarm.Actors.Persistence;

/// <summary>EdgeFarm's own tables, in SQL that SQLite and PostgreSQL both read. Times are Unix milliseconds.</summary>
internal static class FarmSchema
{
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
