using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Server.Hosting;

/// <summary>What the bearer of a token may do.</summary>
[Flags]
public enum FarmRole
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Read sweeps, jobs, leaderboard, fleet and artifacts.</summary>
    Viewer = 1,

    /// <summary>Everything that a viewer may, and submit, cancel and retry sweeps and upload artifacts.</summary>
    Submitter = 2,

    /// <summary>Link as a worker, and move artifacts.</summary>
    Worker = 4,

    /// <summary>Everything.</summary>
    Admin = 8,
}

/// <summary>The tokens that a coordinator accepts. It keeps their SHA-256 alone.</summary>
public sealed class TokenFile
{
    private const int MinimumLength = 16;

    private readonly ImmutableArray<(byte[] Hash, FarmRole Role)> _tokens;

    private TokenFile(ImmutableArray<(byte[], FarmRole)> tokens) => _tokens = tokens;

    /// <summary>
    /// Reads a file: a line <c>ROLE TOKEN</c> for each token, empty lines and lines that begin with # aside.
    /// <see cref="FailureType.InvalidInput"/> names the file and line; no message holds a token.
    /// </summary>
    public static Outcome<TokenFile> Load(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failure.InvalidInput($"Tokens: the token file '{path}' cannot be read: {e.Message}");
        }

        var tokens = ImmutableArray.CreateBuilder<(byte[], FarmRole)>();
        for (var i = 0; i < lines.Length; i++)
        {
            var words = lines[i].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#'))
            {
                continue;
            }

            FarmRole? role = words[0] switch
            {
                "viewer" => FarmRole.Viewer,
                "submitter" => FarmRole.Submitter,
                "worker" => FarmRole.Worker,
                "admin" => FarmRole.Admin,
                _ => null,
            };
            if (role is null)
            {
                return Failure.InvalidInput($"Tokens: {path}, line {i + 1}: the first word must be viewer, submitter, worker or admin");
            }

            if (words.Length != 2 || words[1].Length < MinimumLength)
            {
                return Failure.InvalidInput($"Tokens: {path}, line {i + 1}: after the role stands one token of at least {MinimumLength} characters, e.g. from 'openssl rand -hex 32'");
            }

            tokens.Add((Hash(words[1]), role.Value));
        }

        return tokens.Count > 0
            ? new TokenFile(tokens.ToImmutable())
            : Failure.InvalidInput($"Tokens: the token file '{path}' holds no token; it needs a line 'ROLE TOKEN', with viewer, submitter, worker or admin as the role");
    }

    /// <summary>Roles of a token; none for an unknown one. Takes the same time for every token of a length.</summary>
    public FarmRole RolesOf(string token)
    {
        var hash = Hash(token);
        var roles = FarmRole.None;
        foreach (var (known, role) in _tokens)
        {
            roles |= CryptographicOperations.FixedTimeEquals(hash, known) ? role : FarmRole.None;
        }

        return roles;
    }

    private static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}
