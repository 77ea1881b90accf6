namespace IotTcpGateway.Configuration;

/// <summary>The files with secrets that a configuration names.</summary>
internal static class SecretFiles
{
    /// <summary>Those that only have to be read, by the path of their key; null where none is named.</summary>
    public static IEnumerable<(string Path, string? File)> Of(GatewayConfiguration configuration) =>
    [
        ("mqtt.passwordFile", configuration.Mqtt.PasswordFile),
        ("mqtt.tls.key", configuration.Mqtt.Tls.Key),
        ("http.tokenFile", configuration.Http?.TokenFile),
        ("http.passwordFile", configuration.Http?.PasswordFile),
        ("http.tls.key", configuration.Http?.Tls?.Key),
        .. configuration.Listeners.Select((listener, i) => ($"listeners.{i}.tls.key", listener.Tls?.Key)),
    ];
}
