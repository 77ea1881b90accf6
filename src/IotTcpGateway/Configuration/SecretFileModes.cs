namespace IotTcpGateway.Configuration;

/// <summary>Files with secrets that others than the owner may read or change.</summary>
internal static class SecretFileModes
{
    private const UnixFileMode GroupAccess = UnixFileMode.GroupRead | UnixFileMode.GroupWrite;
    private const UnixFileMode OtherAccess = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    public static IEnumerable<string> Of(GatewayConfiguration configuration)
    {
        foreach ((string path, string? file) in SecretFiles.Of(configuration).Prepend(("devices.file", configuration.Devices.File)))
        {
            if (file is null || IsCredential(file))
                continue;
            if (Whose(ModeOf(file)) is { } who)
                yield return $"{path}: {file} can be read or changed by {who}: set its mode to 0600 (chmod 600)";
        }

        (string Path, string? File)[] asked =
            [("http.tokenFile", configuration.Http?.TokenFile), ("http.passwordFile", configuration.Http?.PasswordFile)];
        foreach ((string path, string? file) in asked)
        {
            if (file is not null && Unusable(file) is { } why)
                yield return $"{path}: {file} {why}: nobody gets in over HTTP by it until there is a secret in it";
        }

        if (Path.GetDirectoryName(configuration.Devices.File) is { } directory
            && (ModeOf(directory) & (UnixFileMode.OtherWrite | UnixFileMode.GroupWrite)) != 0)
        {
            yield return $"devices.file: others may put files into {directory}, a key file of their own too: "
                + "give it to the gateway's user alone (chmod 700)";
        }
    }

    private static string? Whose(UnixFileMode mode) => (mode & OtherAccess) != 0 ? "everybody on this machine"
        : (mode & GroupAccess) != 0 ? "everybody in its group"
        : null;

    // systemd hands credentials over with an access list, which shows in the group's bits.
    private static bool IsCredential(string file) =>
        (Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY") is { Length: > 0 } handedOver
            && file.StartsWith(handedOver, StringComparison.Ordinal))
        || file.StartsWith("/run/credentials/", StringComparison.Ordinal);

    private static string? Unusable(string file)
    {
        try
        {
            return new FileInfo(file) is { Exists: true } found ? found.Length == 0 ? "is empty" : null : "is missing";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    // None for what is not there, or may not be looked at.
    private static UnixFileMode ModeOf(string path)
    {
        try
        {
            return Path.Exists(path) ? File.GetUnixFileMode(path) : UnixFileMode.None;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return UnixFileMode.None;
        }
    }
}
