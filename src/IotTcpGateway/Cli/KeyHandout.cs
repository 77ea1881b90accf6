using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

using IotTcpGateway.Configuration;
using IotTcpGateway.Ingest;

namespace IotTcpGateway.Cli;

/// <summary>How a new key is printed.</summary>
internal enum KeyFormat
{
    /// <summary>The key alone on the first line, then for people: the URI and its QR code.</summary>
    Text,

    /// <summary>64 hexadecimal digits and a line feed.</summary>
    Hex,
    Qr,
    C,
    Python,
    Json,
}

/// <summary>Where a device reaches the gateway.</summary>
internal sealed record GatewayPlace(string Host, int Port, bool IsTls = false)
{
    /// <summary>HOST:PORT, an IPv6 address in brackets.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{(Host.Contains(':') ? $"[{Host}]" : Host)}:{Port}");
}

/// <summary>Hands a new key out, once, as whoever sets the device up needs it.</summary>
internal static class KeyHandout
{
    /// <summary>The option of "device add" and "device rotate"; without it <see cref="DefaultFormat"/>.</summary>
    public static Option<KeyFormat?> FormatOption()
    {
        var option = new Option<KeyFormat?>("--format")
        {
            Description = "text, hex, qr, c, python or json. Default: text on a terminal, else hex.",
            HelpName = "FORMAT",
            CustomParser = result =>
            {
                string word = result.Tokens[0].Value;
                // Not a number, which an enumeration would take too.
                if (Enum.TryParse(word, ignoreCase: true, out KeyFormat format)
                    && format.ToString().Equals(word, StringComparison.OrdinalIgnoreCase))
                {
                    return format;
                }

                result.AddError($"\"{word}\" is no format: text, hex, qr, c, python or json");
                return null;
            },
        };
        return option;
    }

    /// <summary>What a program reads is the key alone.</summary>
    public static KeyFormat DefaultFormat(bool isTerminal) => isTerminal ? KeyFormat.Text : KeyFormat.Hex;

    /// <summary>What is printed, with its last line feed.</summary>
    public static string Write(KeyFormat format, string id, ReadOnlySpan<byte> key, GatewayPlace place, bool isTerminal)
    {
        string hex = Convert.ToHexStringLower(key);
        return format switch
        {
            KeyFormat.Text => $"{hex}\n\n{UriOf(id, key, place)}\n{QrCode.Of(UriOf(id, key, place))?.ToText(isTerminal)}"
                + "This key is shown once. Whoever has it, or a picture of this code, is this device.\n",
            KeyFormat.Hex => hex + "\n",
            KeyFormat.Qr => QrCode.Of(UriOf(id, key, place))?.ToText(isTerminal) ?? UriOf(id, key, place) + "\n",
            KeyFormat.C => HeaderInC(id, key, place),
            KeyFormat.Python => PythonHandout.Write(id, hex, place),
            _ => string.Create(
                CultureInfo.InvariantCulture,
                $$"""{"id":"{{id}}","key":"{{hex}}","host":"{{place.Host}}","port":{{place.Port}},""")
                + $"\"tls\":{(place.IsTls ? "true" : "false")},\"uri\":\"{UriOf(id, key, place)}\"}}\n",
        };
    }

    /// <summary>All that a device needs: itgp://ID:KEY@HOST:PORT, with TLS itgps://. See docs/device-client.md.</summary>
    public static string UriOf(string id, ReadOnlySpan<byte> key, GatewayPlace place) =>
        $"{(place.IsTls ? "itgps" : "itgp")}://{id}:{Convert.ToHexStringLower(key)}@{place}";

    /// <summary>The first listener that takes keys, by an address of this machine that others reach.</summary>
    public static GatewayPlace PlaceOf(GatewayConfiguration configuration)
    {
        ListenerOptions listener =
            configuration.Listeners.Find(l => l.Authentication.Contains("hmac")) ?? configuration.Listeners[0];
        IPEndPoint endpoint = listener.ParsedEndpoint;
        bool isAny = endpoint.Address.Equals(IPAddress.Any) || endpoint.Address.Equals(IPAddress.IPv6Any);
        return new GatewayPlace(isAny ? OwnAddress() : endpoint.Address.ToString(), endpoint.Port, listener.Tls is not null);
    }

    // Connecting a datagram socket sends nothing: it asks the routing table which address of ours would be used.
    private static string OwnAddress()
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(new IPEndPoint(IPAddress.Parse("192.0.2.1"), 9));
            return ((IPEndPoint)socket.LocalEndPoint!).Address.ToString();
        }
        catch (SocketException)
        {
            // No route: its name, as a local network would resolve it.
            return Environment.MachineName + ".local";
        }
    }

    private static string HeaderInC(string id, ReadOnlySpan<byte> key, GatewayPlace place)
    {
        var bytes = new StringBuilder();
        for (int i = 0; i < key.Length; i++)
            bytes.Append(i % 8 == 0 ? "\n    " : " ").Append(CultureInfo.InvariantCulture, $"0x{key[i]:x2},");
        return string.Create(
            CultureInfo.InvariantCulture,
            $$"""
            /* Device {{id}} of IotTcpGateway. Secret: whoever has this file is this device. */
            #ifndef ITGP_DEVICE_KEY_H
            #define ITGP_DEVICE_KEY_H

            #define ITGP_DEVICE_ID "{{id}}"
            #define ITGP_HOST "{{place.Host}}"
            #define ITGP_PORT {{place.Port}}
            #define ITGP_TLS {{(place.IsTls ? 1 : 0)}}
            #define ITGP_KEY_BYTES {{key.Length}}

            static const unsigned char ITGP_KEY[ITGP_KEY_BYTES] = {{{bytes}}
            };

            #endif

            """);
    }
}
