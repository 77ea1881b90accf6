namespace IotTcpGateway.Tls;

/// <summary>Section "listeners[].tls".</summary>
internal sealed class ListenerTlsOptions
{
    /// <summary>PEM file: the gateway's certificate for devices, then any intermediates.</summary>
    public string? Certificate { get; set; }

    /// <summary>PEM file of its private key, without a passphrase.</summary>
    public string? Key { get; set; }

    /// <summary>PEM file of the authorities that vouch for devices; null: nobody is asked for a certificate.</summary>
    public string? ClientCa { get; set; }

    /// <summary>PEM or DER file of their revocation lists.</summary>
    public string? Crl { get; set; }

    /// <summary>TLS handshakes begun a second; those that come faster wait in order.</summary>
    public int HandshakesPerSecond { get; set; } = 20;
}
