using System.Net;

namespace IotTcpGateway.Health;

/// <summary>Section "http".</summary>
internal sealed class HttpOptions
{
    public string Endpoint { get; set; } = "127.0.0.1:9183";

    /// <summary>A file with the token that clients show as "Authorization: Bearer …".</summary>
    public string? TokenFile { get; set; }

    /// <summary>Of HTTP basic authentication.</summary>
    public string? Username { get; set; }

    public string? PasswordFile { get; set; }

    /// <summary>Null: plain HTTP.</summary>
    public HttpTlsOptions? Tls { get; set; }

    public IPEndPoint ParsedEndpoint => IPEndPoint.Parse(Endpoint);

    /// <summary>Whether nobody is answered who does not say who he is.</summary>
    public bool IsGuarded => TokenFile is not null || PasswordFile is not null;
}

/// <summary>Section "http.tls": files in PEM.</summary>
internal sealed class HttpTlsOptions
{
    public string? Certificate { get; set; }

    public string? Key { get; set; }
}
