using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Files;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>What a client showed of itself.</summary>
internal enum ShownCredential
{
    Missing,
    Wrong,
    Right,
}

/// <summary>The token and the password that let a client in, from their files, read again when they change.</summary>
internal sealed partial class HttpCredentials(HttpOptions options, ILogger logger)
{
    private const string Bearer = "Bearer ";
    private const string Basic = "Basic ";

    private readonly SecretFile? token = options.TokenFile is { } file ? new SecretFile(file) : null;
    private readonly SecretFile? password = options.PasswordFile is { } file ? new SecretFile(file) : null;
    private readonly byte[] username = SHA256.HashData(Encoding.UTF8.GetBytes(options.Username ?? ""));

    /// <summary>What a client is asked for, a value of WWW-Authenticate each.</summary>
    public string[] Challenges { get; } =
    [
        .. options.TokenFile is null ? Array.Empty<string>() : ["Bearer realm=\"iotgw\""],
        .. options.PasswordFile is null ? Array.Empty<string>() : ["Basic realm=\"iotgw\", charset=\"UTF-8\""],
    ];

    /// <summary>Reads the files again, and says so where something changed.</summary>
    public void Refresh()
    {
        Refresh("http.tokenFile", token);
        Refresh("http.passwordFile", password);
    }

    /// <summary>Judges the value of "Authorization".</summary>
    public ShownCredential Judge(string? authorization)
    {
        if (string.IsNullOrEmpty(authorization))
            return ShownCredential.Missing;
        bool isRight = authorization switch
        {
            _ when token is not null && authorization.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase)
                => token.Is(Encoding.UTF8.GetBytes(authorization[Bearer.Length..].Trim(' '))),
            _ when password is not null && authorization.StartsWith(Basic, StringComparison.OrdinalIgnoreCase)
                => IsUser(password, authorization[Basic.Length..].Trim(' ')),
            _ => false,
        };
        return isRight ? ShownCredential.Right : ShownCredential.Wrong;
    }

    private bool IsUser(SecretFile secret, string base64)
    {
        byte[] pair = new byte[base64.Length];
        if (!Convert.TryFromBase64String(base64, pair, out int bytes))
            return false;
        ReadOnlySpan<byte> shown = pair.AsSpan(0, bytes);
        int colon = shown.IndexOf((byte)':');
        if (colon < 0)
            return false;
        Span<byte> name = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(shown[..colon], name);
        // Both are compared, whatever the first one gives: the time must not tell a right name.
        bool isName = CryptographicOperations.FixedTimeEquals(name, username);
        return secret.Is(shown[(colon + 1)..]) & isName;
    }

    private void Refresh(string key, SecretFile? secret)
    {
        switch (secret?.Read())
        {
            case SecretReading.Taken:
                LogTaken(logger, key, secret.Path);
                break;
            case SecretReading.Unusable:
                LogNobody(logger, key, secret.Path, secret.Problem);
                break;
            default:
                break;
        }
    }

    [LoggerMessage(1612, LogLevel.Information, "{Key} is read from {Path}: what it holds lets in from now on")]
    private static partial void LogTaken(ILogger logger, string key, string path);

    [LoggerMessage(1613, LogLevel.Critical,
        "nobody gets in over HTTP by {Key} {Path} ({Why}): put the secret into it; it is looked at every two seconds")]
    private static partial void LogNobody(ILogger logger, string key, string path, string why);
}
