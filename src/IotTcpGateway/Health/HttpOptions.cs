namespace IotTcpGateway.Health;

/// <summary>Section "http".</summary>
internal sealed class HttpOptions
{
    public string Endpoint { get; set; } = "127.0.0.1:9183";
}
