using System.Net.Sockets;
using EdgeFarm.Contracts.V1;
using Google.Rpc;
using Grpc.Core;

namespace EdgeFarm.Contracts;

/// <summary>What kind of error a call to the farm ended in.</summary>
public enum FarmErrorKind
{
    /// <summary>The farm's own error, or one that this client does not know.</summary>
    Internal = 0,

    /// <summary>Nothing answers at the address.</summary>
    Unreachable = 1,

    /// <summary>The farm answers, but cannot serve now: it starts, stops or is overloaded. Worth another try.</summary>
    Unavailable = 2,

    /// <summary>What was asked for does not exist.</summary>
    NotFound = 3,

    /// <summary>The request is wrong; see <see cref="FarmCallException.Violations"/>.</summary>
    InvalidArgument = 4,

    /// <summary>The request id was used for something else.</summary>
    AlreadyExists = 5,

    /// <summary>The farm is not in the state that the request needs, e.g. a source is not uploaded.</summary>
    FailedPrecondition = 6,

    /// <summary>The caller ended the call, or its deadline passed.</summary>
    Cancelled = 7,

    /// <summary>The token is missing, unknown, or of a role that may not do this.</summary>
    Refused = 8,
}

/// <summary>One field of a request that is wrong.</summary>
/// <param name="Field">Its path.</param>
/// <param name="Description">What is wrong.</param>
public sealed record FieldViolation(string Field, string Description);

/// <summary>A call to the farm that failed, with what the farm said about it.</summary>
public sealed class FarmCallException : Exception
{
    private FarmCallException(FarmErrorKind kind, string message, Exception inner)
        : base(message, inner) => Kind = kind;

    /// <summary>What kind of error.</summary>
    public FarmErrorKind Kind { get; }

    /// <summary>Fields that are wrong; empty when the farm named none.</summary>
    public IReadOnlyList<FieldViolation> Violations { get; private init; } = [];

    /// <summary>Errors of a sweep file with lines; empty for other calls.</summary>
    public IReadOnlyList<SweepFileError> FileErrors { get; private init; } = [];

    /// <summary>Makes one of what gRPC threw.</summary>
    /// <param name="error">The error of the call.</param>
    /// <param name="address">The farm's address, for the message.</param>
    public static FarmCallException From(RpcException error, Uri address)
    {
        var kind = KindOf(error);
        var status = error.GetRpcStatus();
        var message = kind switch
        {
            FarmErrorKind.Unreachable when IsDistrust(error.Status.DebugException) =>
                $"the certificate of {address.GetLeftPart(UriPartial.Authority)} is not trusted, or not for this name; name a file with its authority with --ca",
            FarmErrorKind.Unreachable => $"no farm answers at {address.GetLeftPart(UriPartial.Authority)}",
            FarmErrorKind.Internal => $"{error.StatusCode}: {error.Status.Detail}",
            _ => error.Status.Detail,
        };
        return new FarmCallException(kind, message, error)
        {
            Violations = [.. status?.GetDetail<BadRequest>()?.FieldViolations.Select(v => new FieldViolation(v.Field, v.Description)) ?? []],
            FileErrors = [.. status?.GetDetail<SweepFileErrors>()?.Errors ?? []],
        };
    }

    private static bool IsDistrust(Exception? e)
    {
        while (e is not null and not System.Security.Authentication.AuthenticationException)
        {
            e = e.InnerException;
        }

        return e is not null;
    }

    private static FarmErrorKind KindOf(RpcException error) => error.StatusCode switch
    {
        StatusCode.Unavailable => error.Status.DebugException is HttpRequestException or SocketException or IOException ? FarmErrorKind.Unreachable : FarmErrorKind.Unavailable,
        StatusCode.NotFound => FarmErrorKind.NotFound,
        StatusCode.InvalidArgument or StatusCode.OutOfRange => FarmErrorKind.InvalidArgument,
        StatusCode.AlreadyExists => FarmErrorKind.AlreadyExists,
        StatusCode.FailedPrecondition => FarmErrorKind.FailedPrecondition,
        StatusCode.Unauthenticated or StatusCode.PermissionDenied => FarmErrorKind.Refused,
        StatusCode.Cancelled or StatusCode.DeadlineExceeded => FarmErrorKind.Cancelled,

        // A port that speaks something else answers with a broken HTTP/2 conversation.
        StatusCode.Internal when error.Status.DebugException is HttpRequestException => FarmErrorKind.Unreachable,
        _ => FarmErrorKind.Internal,
    };
}
