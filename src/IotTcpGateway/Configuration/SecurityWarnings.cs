using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;

namespace IotTcpGateway.Configuration;

/// <summary>Every setting that works and lets somebody in, or lets something be read or lost, with what to do.</summary>
internal static class SecurityWarnings
{
    // Far above what any site needs, and enough for one host to make the gateway work for nothing.
    private const int UnauthenticatedWeak = 1024;
    private const int OffencesWeak = 6000;
    private const int BadFramesWeak = 600;

    private static readonly IPNetwork[] PrivateNetworks =
    [
        IPNetwork.Parse("10.0.0.0/8"), IPNetwork.Parse("172.16.0.0/12"), IPNetwork.Parse("192.168.0.0/16"),
        IPNetwork.Parse("169.254.0.0/16"), IPNetwork.Parse("fc00::/7"), IPNetwork.Parse("fe80::/10"),
    ];

    public static IEnumerable<string> Of(GatewayConfiguration configuration) =>
    [
        .. configuration.Listeners.SelectMany(Listener),
        .. Broker(configuration.Mqtt),
        .. Http(configuration.Http),
        .. SecretFileModes.Of(configuration),
        .. Ack(configuration.Buffer),
    ];

    /// <summary>What is as it should be by default and still good to know; shown by "check" alone.</summary>
    public static IEnumerable<string> Hints(GatewayConfiguration configuration) => configuration.Listeners
        .Select((listener, i) => (listener, i))
        .Where(l => l.listener.Authentication.Contains("hmac") && l.listener.Tls is null && !IsLoopback(l.listener))
        .Select(l => $"listeners.{l.i}: keys never cross {l.listener.Endpoint}, but readings do, readable, and whoever is in between "
            + "could alter them: let devices use tagged frames against the latter, TLS against both");

    private static IEnumerable<string> Listener(ListenerOptions listener, int index)
    {
        string path = $"listeners.{index}";
        if (listener.Authentication.Contains("none") && !IsLoopback(listener))
        {
            yield return listener.AllowFrom.Count == 0 || listener.AllowFrom.Exists(IsEverything)
                ? $"{path}.authentication: \"none\" lets anybody who reaches {listener.Endpoint} send as any device without a key, "
                    + "from anywhere: leave \"none\" out, or name the devices' network in allowFrom"
                : $"{path}.authentication: \"none\" lets anybody in {string.Join(", ", listener.AllowFrom)} send as any device without a key: "
                    + "leave \"none\" out where devices can keep one";
        }

        if (listener.MaxUnauthenticated > UnauthenticatedWeak)
        {
            yield return TooHigh(
                $"{path}.maxUnauthenticated", listener.MaxUnauthenticated, UnauthenticatedWeak, "keep connections that say nothing");
        }

        if (listener.OffencesPerMinute > OffencesWeak)
            yield return TooHigh($"{path}.offencesPerMinute", listener.OffencesPerMinute, OffencesWeak, "try keys");
        if (listener.BadFramesPerMinute > BadFramesWeak)
            yield return TooHigh($"{path}.badFramesPerMinute", listener.BadFramesPerMinute, BadFramesWeak, "send rubbish");
    }

    private static string TooHigh(string path, int value, int weak, string what) =>
        $"{path}: {value} lets one host {what} almost without end: {weak} or less is plenty, the default is made for most sites";

    private static IEnumerable<string> Broker(MqttOptions mqtt)
    {
        for (int i = 0; i < mqtt.Brokers.Count; i++)
        {
            if (BrokerAddress.TryParse(mqtt.Brokers[i]) is not { IsTls: false } broker || IsLoopbackHost(broker.Host))
                continue;
            bool hasPassword = mqtt.PasswordFile is not null;
            if (!IsPrivate(broker.Host))
            {
                yield return $"mqtt.brokers.{i}: to {broker.Host} the readings{(hasPassword ? " and the password" : "")} "
                    + "cross the network readable, and whoever is in between can alter them and send commands: use mqtts://";
            }
            else if (hasPassword)
            {
                yield return $"mqtt.brokers.{i}: the password crosses the network to {broker.Host} readable: use mqtts://";
            }
        }
    }

    private static IEnumerable<string> Http(HttpOptions? http)
    {
        if (http is null)
            yield break;
        if (!IPAddress.IsLoopback(http.ParsedEndpoint.Address) && http.Tls is null && http.IsGuarded)
        {
            yield return $"http.tls: without it the {(http.TokenFile is null ? "password" : "token")} crosses the network "
                + $"to {http.Endpoint} readable, and whoever reads it gets in: set http.tls.certificate and http.tls.key, or use a loopback address";
        }
    }

    private static IEnumerable<string> Ack(BufferOptions buffer)
    {
        if (buffer.Ack == AckPolicy.Memory)
        {
            yield return "buffer.ack: with \"memory\" devices forget frames that a power cut or crash then loses: "
                + "\"safe\" acknowledges what the broker or the disk has";
        }
    }

    private static bool IsLoopback(ListenerOptions listener) => IPAddress.IsLoopback(listener.ParsedEndpoint.Address);

    private static bool IsLoopbackHost(string host) => IPAddress.TryParse(host, out IPAddress? address)
        ? IPAddress.IsLoopback(address)
        : host.Equals("localhost", StringComparison.OrdinalIgnoreCase);

    // 0.0.0.0/1 and 128.0.0.0/1 together are everything too, and no site has half of all addresses.
    private static bool IsEverything(string network) => IPNetwork.TryParse(network, out IPNetwork parsed) && parsed.PrefixLength <= 1;

    // A name may be anywhere.
    private static bool IsPrivate(string host)
    {
        if (!IPAddress.TryParse(host, out IPAddress? address))
            return false;
        IPAddress plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : new IPAddress(address.GetAddressBytes());
        return Array.Exists(PrivateNetworks, network => network.Contains(plain));
    }
}
