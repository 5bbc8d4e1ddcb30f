using System.Collections.Frozen;
using Grpc.Core;

namespace EdgeFarm.Server.Hosting;

/// <summary>
/// Lets calls in by the role of their token. What is not listed here is for admins, so that a new method is closed until somebody
/// decides about it.
/// </summary>
/// <param name="next">What comes behind the door.</param>
/// <param name="tokens">The tokens.</param>
/// <param name="httpPort">Port of metrics and health, which anybody who reaches it may read.</param>
internal sealed class FarmDoor(RequestDelegate next, TokenFile tokens, int httpPort)
{
    private const string Scheme = "Bearer ";
    private const FarmRole Readers = FarmRole.Viewer | FarmRole.Submitter | FarmRole.Admin;
    private const FarmRole Writers = FarmRole.Submitter | FarmRole.Admin;

    // Whoever asks may know.
    private const FarmRole Anybody = (FarmRole)(-1);

    private static readonly FrozenDictionary<string, FarmRole> Methods = new Dictionary<string, FarmRole>(StringComparer.Ordinal)
    {
        ["/edgefarm.v1.Sweeps/Submit"] = Writers,
        ["/edgefarm.v1.Sweeps/DryRun"] = Writers,
        ["/edgefarm.v1.Sweeps/Cancel"] = Writers,
        ["/edgefarm.v1.Sweeps/Retry"] = Writers,
        ["/edgefarm.v1.Sweeps/"] = Readers,
        ["/edgefarm.v1.Jobs/"] = Readers,
        ["/edgefarm.v1.Leaderboard/"] = Readers,
        ["/edgefarm.v1.Fleet/"] = Readers,
        ["/edgefarm.v1.Artifacts/Stat"] = Readers | FarmRole.Worker,
        ["/edgefarm.v1.Artifacts/Download"] = Readers | FarmRole.Worker,
        ["/edgefarm.v1.Artifacts/Fetch"] = Writers,
        ["/edgefarm.v1.Artifacts/Upload"] = Writers | FarmRole.Worker,
        ["/edgefarm.link.v1.WorkerLink/Open"] = FarmRole.Worker | FarmRole.Admin,
        ["/grpc.reflection.v1alpha.ServerReflection/"] = Readers,
        ["/grpc.reflection.v1.ServerReflection/"] = Readers,
        ["/grpc.health.v1.Health/"] = Anybody,

        // KEDA's scaler asks for counts of jobs and cannot carry a token.
        ["/externalscaler.ExternalScaler/"] = Anybody,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The roles that may call a method; admins alone where nobody decided.</summary>
    internal static FarmRole RolesFor(string path)
    {
        var service = path.LastIndexOf('/') is > 0 and var slash ? path[..(slash + 1)] : path;
        return Methods.TryGetValue(path, out var roles) || Methods.TryGetValue(service, out roles) ? roles : FarmRole.Admin;
    }

    /// <summary>Whether somebody decided about a method.</summary>
    internal static bool IsListed(string path) => Methods.ContainsKey(path) || Methods.ContainsKey(path[..(path.LastIndexOf('/') + 1)]);

    public Task InvokeAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "";
        var needed = context.Connection.LocalPort == httpPort && path is "/metrics" or "/cluster" or "/health/live" or "/health/ready" ? Anybody : RolesFor(path);
        if (needed == Anybody)
        {
            return next(context);
        }

        var authorization = context.Request.Headers.Authorization.ToString();
        if (!authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return RefuseAsync(context, StatusCode.Unauthenticated, "this farm wants a token; name a file that holds one with --token");
        }

        var roles = tokens.RolesOf(authorization[Scheme.Length..].Trim());
        return roles == FarmRole.None ? RefuseAsync(context, StatusCode.Unauthenticated, "this farm does not know the token")
            : (roles & needed) == FarmRole.None ? RefuseAsync(context, StatusCode.PermissionDenied, $"{path} needs the role {Describe(needed)}; this token is of {Describe(roles)}")
            : next(context);
    }

    private static string Describe(FarmRole roles) => roles.ToString().ToLowerInvariant().Replace(", ", " or ", StringComparison.Ordinal);

    private static Task RefuseAsync(HttpContext context, StatusCode code, string message)
    {
        if (context.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) != true)
        {
            context.Response.StatusCode = code == StatusCode.Unauthenticated ? StatusCodes.Status401Unauthorized : StatusCodes.Status403Forbidden;
            return context.Response.WriteAsync(message + "\n");
        }

        // An answer of trailers alone, as gRPC has it.
        context.Response.StatusCode = StatusCodes.Status200OK;
        context.Response.ContentType = "application/grpc";
        context.Response.Headers["grpc-status"] = ((int)code).ToString(System.Globalization.CultureInfo.InvariantCulture);
        context.Response.Headers["grpc-message"] = Uri.EscapeDataString(message).Replace("%20", " ", StringComparison.Ordinal);
        return Task.CompletedTask;
    }
}
