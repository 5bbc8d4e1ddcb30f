using EdgeFarm.Core.Jobs;
using EdgeFarm.Server.SweepFiles;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Status = Google.Rpc.Status;
using Wire = EdgeFarm.Contracts.V1;

namespace EdgeFarm.Server.Services;

/// <summary>Errors as google.rpc.Status with details that a program can read.</summary>
internal static class RpcErrors
{
    /// <summary>One field of the request is wrong.</summary>
    public static RpcException Invalid(string field, string description) => Make(
        Code.InvalidArgument,
        $"{field}: {description}",
        new BadRequest { FieldViolations = { new BadRequest.Types.FieldViolation { Field = field, Description = description } } });

    /// <summary>What was asked for does not exist.</summary>
    public static RpcException NotFound(string what, string id, string hint) => Make(
        Code.NotFound, $"there is no {what} '{id}'; {hint}", new ResourceInfo { ResourceType = what, ResourceName = id });

    /// <summary>Something must be done first.</summary>
    public static RpcException Precondition(string subject, string description) => Make(
        Code.FailedPrecondition,
        description,
        new PreconditionFailure { Violations = { new PreconditionFailure.Types.Violation { Type = "ARTIFACT", Subject = subject, Description = description } } });

    /// <summary>The request id stands for other content.</summary>
    public static RpcException AlreadyExists(string id, string description) =>
        Make(Code.AlreadyExists, description, new ResourceInfo { ResourceType = "request", ResourceName = id });

    /// <summary>A sweep file is wrong.</summary>
    public static RpcException InvalidFile(IReadOnlyList<SweepFileError> errors)
    {
        var bad = new BadRequest();
        var file = new Wire.SweepFileErrors();
        foreach (var error in errors)
        {
            bad.FieldViolations.Add(new BadRequest.Types.FieldViolation { Field = error.Field, Description = error.Describe() });
            file.Errors.Add(new Wire.SweepFileError
            {
                Line = error.Position.Line,
                Column = error.Position.Column,
                Field = error.Field,
                Message = error.Message,
                Accepted = { error.Accepted },
                Suggestion = error.Suggestion,
            });
        }

        var more = errors.Count > 1 ? $" (and {errors.Count - 1} more)" : "";
        return Make(Code.InvalidArgument, $"the sweep file is wrong: {errors[0].ToLine("line")}{more}", bad, file);
    }

    /// <summary>A failure that a part of the farm returned.</summary>
    public static RpcException From(Failure failure) => failure.Type switch
    {
        FailureType.InvalidInput => Make(Code.InvalidArgument, failure.Message),
        FailureType.Unsupported => Make(Code.Unimplemented, failure.Message),
        FailureType.OutOfMemory => Make(Code.ResourceExhausted, failure.Message),
        FailureType.Cancelled => Make(Code.Cancelled, failure.Message),
        FailureType.WorkerLost or FailureType.HandedBack or FailureType.TimedOut => Make(Code.Unavailable, failure.Message),
        _ => Make(Code.Internal, failure.Message),
    };

    /// <summary>The farm cannot answer now, but may soon.</summary>
    public static RpcException Unavailable(string message) => Make(Code.Unavailable, message, new RetryInfo { RetryDelay = Duration.FromTimeSpan(TimeSpan.FromSeconds(1)) });

    /// <summary>A bug of the farm's; its details stay in the log.</summary>
    public static RpcException Internal(string message) => Make(Code.Internal, message);

    private static RpcException Make(Code code, string message, params Google.Protobuf.IMessage[] details)
    {
        var status = new Status { Code = (int)code, Message = message };
        status.Details.Add(details.Select(d => Any.Pack(d)));
        return status.ToRpcException();
    }
}
