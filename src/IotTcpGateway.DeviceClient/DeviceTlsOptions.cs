namespace IotTcpGateway.DeviceClient;

/// <summary>TLS 1.2 or 1.3 to the gateway. The gateway's certificate and its name are always checked.</summary>
public sealed class DeviceTlsOptions
{
    /// <summary>
    /// PEM file of the authorities that may have signed the gateway's certificate; null for those of the system.
    /// </summary>
    public string? CaFile { get; init; }

    /// <summary>
    /// PEM file of the device's own certificate, followed by any intermediate ones; null for none. Without a key in
    /// <see cref="DeviceClientOptions.Key"/> the device authenticates by it.
    /// </summary>
    public string? CertificateFile { get; init; }

    /// <summary>
    /// PEM file of the certificate's private key; null when it lies in <see cref="CertificateFile"/>.
    /// </summary>
    public string? KeyFile { get; init; }

    /// <summary>
    /// The name that the gateway's certificate must have; null for <see cref="DeviceClientOptions.Host"/>.
    /// </summary>
    public string? ServerName { get; init; }
}
