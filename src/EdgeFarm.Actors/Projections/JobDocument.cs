using System.Text.Json;
using EdgeFarm.Core.Artifacts;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Projections;

/// <summary>
/// A job's document as <see cref="ReadModelJson"/> writes and reads it, written member by member: a sweep has two for each job, and a
/// serializer that looks at types takes several times as long. A test holds the two together.
/// </summary>
internal static class JobDocument
{
    private static readonly JsonEncodedText Id = JsonEncodedText.Encode(nameof(JobView.Id));
    private static readonly JsonEncodedText Sweep = JsonEncodedText.Encode(nameof(JobView.Sweep));
    private static readonly JsonEncodedText Kind = JsonEncodedText.Encode(nameof(JobView.Kind));
    private static readonly JsonEncodedText Operation = JsonEncodedText.Encode(nameof(JobView.Operation));
    private static readonly JsonEncodedText Engine = JsonEncodedText.Encode(nameof(JobView.Engine));
    private static readonly JsonEncodedText Model = JsonEncodedText.Encode(nameof(JobView.Model));
    private static readonly JsonEncodedText Form = JsonEncodedText.Encode(nameof(JobView.Form));
    private static readonly JsonEncodedText Target = JsonEncodedText.Encode(nameof(JobView.Target));
    private static readonly JsonEncodedText Status = JsonEncodedText.Encode(nameof(JobView.Status));
    private static readonly JsonEncodedText Attempts = JsonEncodedText.Encode(nameof(JobView.Attempts));
    private static readonly JsonEncodedText Cached = JsonEncodedText.Encode(nameof(JobView.Cached));
    private static readonly JsonEncodedText Progress = JsonEncodedText.Encode(nameof(JobView.Progress));
    private static readonly JsonEncodedText ProgressText = JsonEncodedText.Encode(nameof(JobView.ProgressText));
    private static readonly JsonEncodedText Action = JsonEncodedText.Encode(nameof(JobView.Action));
    private static readonly JsonEncodedText Outputs = JsonEncodedText.Encode(nameof(JobView.Outputs));
    private static readonly JsonEncodedText MemoryBytes = JsonEncodedText.Encode(nameof(JobView.MemoryBytes));
    private static readonly JsonEncodedText Number = JsonEncodedText.Encode(nameof(AttemptView.Number));
    private static readonly JsonEncodedText Worker = JsonEncodedText.Encode(nameof(AttemptView.Worker));
    private static readonly JsonEncodedText Host = JsonEncodedText.Encode(nameof(AttemptView.Host));
    private static readonly JsonEncodedText Device = JsonEncodedText.Encode(nameof(AttemptView.Device));
    private static readonly JsonEncodedText StartedAt = JsonEncodedText.Encode(nameof(AttemptView.StartedAt));
    private static readonly JsonEncodedText FinishedAt = JsonEncodedText.Encode(nameof(AttemptView.FinishedAt));
    private static readonly JsonEncodedText FailureName = JsonEncodedText.Encode(nameof(AttemptView.Failure));
    private static readonly JsonEncodedText Log = JsonEncodedText.Encode(nameof(AttemptView.Log));
    private static readonly JsonEncodedText DigestName = JsonEncodedText.Encode(nameof(ArtifactRef.Digest));
    private static readonly JsonEncodedText Size = JsonEncodedText.Encode(nameof(ArtifactRef.Size));
    private static readonly JsonEncodedText Format = JsonEncodedText.Encode(nameof(ArtifactRef.Format));
    private static readonly JsonEncodedText FileName = JsonEncodedText.Encode(nameof(ArtifactRef.FileName));

    /// <summary>Writes a job and flushes the writer.</summary>
    public static void Write(Utf8JsonWriter json, JobView job)
    {
        json.WriteStartObject();
        json.WriteString(Id, job.Id);
        json.WriteString(Sweep, job.Sweep);
        json.WriteNumber(Kind, (int)job.Kind);
        json.WriteString(Operation, job.Operation);
        json.WriteString(Engine, job.Engine);
        json.WriteString(Model, job.Model);
        json.WriteString(Form, job.Form);
        json.WriteString(Target, job.Target);
        json.WriteNumber(Status, (int)job.Status);
        json.WriteStartArray(Attempts);
        foreach (var attempt in job.Attempts)
        {
            Write(json, attempt);
        }

        json.WriteEndArray();
        json.WriteBoolean(Cached, job.Cached);
        json.WriteNumber(Progress, job.Progress);
        json.WriteString(ProgressText, job.ProgressText);
        json.WriteString(Action, job.Action.Hex);
        json.WriteStartObject(Outputs);
        foreach (var (name, output) in job.Outputs)
        {
            json.WriteStartObject(name);
            json.WriteString(DigestName, output.Digest.Hex);
            json.WriteNumber(Kind, (int)output.Kind);
            json.WriteNumber(Size, output.Size);
            json.WriteString(Format, output.Format);
            json.WriteString(FileName, output.FileName);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.WriteNumber(MemoryBytes, job.MemoryBytes);
        json.WriteEndObject();
        json.Flush();
    }

    private static void Write(Utf8JsonWriter json, AttemptView attempt)
    {
        json.WriteStartObject();
        json.WriteNumber(Number, attempt.Number);
        json.WriteString(Worker, attempt.Worker);
        json.WriteString(Host, attempt.Host);
        json.WriteString(Device, attempt.Device);
        if (attempt.StartedAt is { } started)
        {
            json.WriteString(StartedAt, started);
        }

        if (attempt.FinishedAt is { } finished)
        {
            json.WriteString(FinishedAt, finished);
        }

        if (attempt.Failure is { } failure)
        {
            json.WritePropertyName(FailureName);
            ReadModelJson.Write(json, failure);
        }

        json.WriteString(Log, attempt.Log.Hex);
        json.WriteEndObject();
    }
}
