using System.Net;

namespace IotTcpGateway.Forward;

/// <summary>One entry of "mqtt.brokers".</summary>
internal sealed record BrokerAddress(string Host, int Port, bool IsTls)
{
    /// <summary>Reads mqtt://host[:1883] or mqtts://host[:8883]; null if it is neither.</summary>
    public static BrokerAddress? TryParse(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) || uri.Host.Length == 0 || uri.UserInfo.Length > 0
            || uri.PathAndQuery is not ("/" or ""))
        {
            return null;
        }

        return uri.Scheme switch
        {
            "mqtt" => new BrokerAddress(uri.DnsSafeHost, uri.Port > 0 ? uri.Port : 1883, false),
            "mqtts" => new BrokerAddress(uri.DnsSafeHost, uri.Port > 0 ? uri.Port : 8883, true),
            _ => null,
        };
    }

    public EndPoint EndPoint => IPAddress.TryParse(Host, out IPAddress? address)
        ? new IPEndPoint(address, Port)
        : new DnsEndPoint(Host, Port);

    public override string ToString() => $"{(IsTls ? "mqtts" : "mqtt")}://{(Host.Contains(':') ? $"[{Host}]" : Host)}:{Port}";
}
