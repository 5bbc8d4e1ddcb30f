using System.Net;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Artifacts.HuggingFace;

/// <summary>What the Hub's answers mean for a user.</summary>
internal static class HubFailures
{
    private const string CodeHeader = "X-Error-Code", MessageHeader = "X-Error-Message";
    private const int MaxMessage = 200;

    /// <summary>Whether another try may help.</summary>
    public static bool IsPassing(HttpStatusCode status) =>
        status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests || (int)status >= 500;

    /// <summary>The failure of an answer that is no success.</summary>
    public static Failure Of(HttpResponseMessage answer, HubSource source, string path, HubOptions options)
    {
        var code = Header(answer, CodeHeader);
        var file = path.Length == 0 ? "" : $", file {path}";
        var page = new Uri(options.Endpoint, source.Repository);
        var hasToken = options.Token.Length > 0;
        return ((int)answer.StatusCode, code) switch
        {
            (_, "GatedRepo") or (403, "") => Failure.InvalidInput(
                $"{source}{file}: access to this model must be granted: accept its terms at {page}, and set {HubOptions.TokenVariable} {(hasToken ? "to a token of the account that was granted access" : "to an access token of that account")}, where the download runs"),
            (404, "RevisionNotFound") => Failure.InvalidInput($"{source}: the repository has no branch, tag or commit '{source.Revision}'"),
            (404, "EntryNotFound") => Failure.InvalidInput($"{source}: the repository has no file '{path}'"),
            (401 or 403 or 404, _) => Failure.InvalidInput(hasToken
                ? $"{source}{file}: there is no such repository at {options.Endpoint.Authority}, or the token in {HubOptions.TokenVariable} is not valid for it (status {(int)answer.StatusCode})"
                : $"{source}{file}: there is no such repository at {options.Endpoint.Authority}, or it is private; for a private one set {HubOptions.TokenVariable} where the download runs (status {(int)answer.StatusCode})"),
            (429, _) => new Failure(FailureType.Internal, $"{source}{file}: {options.Endpoint.Authority} refuses more requests for now (429); try again later, or set {HubOptions.TokenVariable} for a higher limit"),
            var (status, _) => new Failure(FailureType.Internal, $"{source}{file}: {answer.RequestMessage?.RequestUri?.Authority} answered {status}{Said(answer)}; try again later"),
        };
    }

    /// <summary>The failure of a connection.</summary>
    public static Failure Unreachable(Exception error, HubSource source, HubOptions options) => new(
        FailureType.Internal,
        $"{source}: {options.Endpoint.Authority} cannot be reached from here ({error.InnerException?.Message ?? error.Message}); check the network and its proxy, name a mirror in {HubOptions.EndpointVariable}, "
        + "or fetch the checkpoint elsewhere and use file:DIRECTORY");

    private static string Header(HttpResponseMessage answer, string name) => answer.Headers.TryGetValues(name, out var values) ? values.First() : "";

    private static string Said(HttpResponseMessage answer)
    {
        var text = new string([.. Header(answer, MessageHeader).Where(c => !char.IsControl(c)).Take(MaxMessage)]);
        return text.Length == 0 ? "" : $" ({text})";
    }
}
