using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;

namespace IotTcpGateway.Configuration;

/// <summary>Rules that hold between keys, or between a key and this machine.</summary>
internal static class CrossRules
{
    /// <summary>Share of the machine's memory that the configured caps may take together.</summary>
    public const int MemorySharePercent = 50;

    // A commit's bytes and a reader's buffer for each of three lanes, quarantine and ledger.
    private const long DiskHeapBytes = 6 << 20;

    // Above a plain connection, with TLS: some 15 KiB used, and a record of 16 KiB while it comes in.
    private const long TlsHeapBytes = 36 << 10;

    // OpenSSL's, outside the managed heap: some 45 KiB used.
    private const long TlsNativeBytes = 48 << 10;

    /// <summary>What the managed heap may take, in bytes: a base, and so much a connection (about 5 KiB are used).</summary>
    public static long HeapBytesMax(GatewayConfiguration configuration) =>
        (56L << 20) + (configuration.Buffer.Disk > 0 ? DiskHeapBytes : 0)
        + (configuration.Buffer.Disk > 0 ? 2 : 1) * configuration.Devices.MaxTableMemory + (2 * configuration.Mqtt.InFlightMemory)
        + (configuration.Listeners.Sum(Connections) * (12 << 10)) + (TlsConnections(configuration) * TlsHeapBytes);

    public static IEnumerable<ConfigurationFault> Check(GatewayConfiguration configuration, long machineMemoryBytes) =>
    [
        .. Listeners(configuration.Listeners),
        .. Mqtt(configuration),
        .. Http(configuration.Http),
        .. Files(configuration),
        .. TlsRules.Check(configuration.Listeners),
        .. Disk(configuration.Buffer),
        .. Memory(configuration, machineMemoryBytes),
    ];

    /// <summary>What works, and is probably not what the user wants.</summary>
    public static IEnumerable<string> Warnings(GatewayConfiguration configuration)
    {
        if (configuration.Mqtt.Brokers.Count == 0)
            yield return "mqtt.brokers: no broker is named: frames are taken until the buffer is full, and go nowhere";
        if (configuration.Mqtt is { Payload: "raw", Version: "3.1.1" })
            yield return "mqtt.payload: raw with MQTT 3.1.1 carries no boot and sequence: consumers cannot tell duplicates";
        if (configuration.Gateway.Id is "raspberrypi" or "localhost" or "debian" or "pi")
            yield return $"gateway.id: several boxes may be called \"{configuration.Gateway.Id}\": give each an id of its own";
        foreach (string warning in configuration.Listeners.Select(TlsRules.Warning).OfType<string>())
            yield return warning;
        foreach (string weakness in SecurityWarnings.Of(configuration))
            yield return weakness;
    }

    private static long Connections(ListenerOptions listener) => (long)listener.MaxConnections + listener.MaxUnauthenticated;

    private static long TlsConnections(GatewayConfiguration configuration) =>
        configuration.Listeners.Where(l => l.Tls is not null).Sum(Connections);

    private static IEnumerable<ConfigurationFault> Listeners(List<ListenerOptions> listeners)
    {
        if (listeners.Count == 0)
            yield return new ConfigurationFault("listeners", "there is none", "name at least one, or leave the key out for 0.0.0.0:7183 with hmac");
        for (int i = 0; i < listeners.Count; i++)
        {
            ListenerOptions one = listeners[i];
            if (listeners.Take(i).Any(other => other.Name == one.Name))
                yield return new ConfigurationFault($"listeners.{i}.name", $"\"{one.Name}\" is taken by another listener", "give each a name of its own");
            if (one.ParsedEndpoint.Port != 0 && listeners.Take(i).Any(other => other.Endpoint == one.Endpoint))
                yield return new ConfigurationFault($"listeners.{i}.endpoint", $"{one.Endpoint} is taken by another listener", "give each an endpoint of its own");
            if (one.Authentication.Count == 0)
                yield return new ConfigurationFault($"listeners.{i}.authentication", "nobody could get in", "name \"hmac\", \"certificate\" or \"none\"");
        }
    }

    private static IEnumerable<ConfigurationFault> Mqtt(GatewayConfiguration configuration)
    {
        MqttOptions mqtt = configuration.Mqtt;
        if (mqtt.Qos == 0 && configuration.Buffer.Ack == AckPolicy.Safe)
            yield return new ConfigurationFault("mqtt.qos", "0 gives no confirmation, so no frame would ever be safe", "use 1, or buffer.ack \"memory\"");
        if (mqtt.Payload == "raw" && mqtt.Batch.Messages > 1)
            yield return new ConfigurationFault("mqtt.batch.messages", "raw payloads cannot be put into a JSON array", "use 1, or payload \"json\"");
        if (mqtt.Payload == "raw" && mqtt.Topic.EndsWith("{channel}", StringComparison.Ordinal))
            yield return new ConfigurationFault("mqtt.topic", "a raw payload has all channels of a frame", "leave {channel} out, or use payload \"json\"");
        if (mqtt.PasswordFile is not null && mqtt.Username is null)
            yield return new ConfigurationFault("mqtt.username", "there is a password and no user name", "set mqtt.username");
        if ((mqtt.Tls.Certificate is null) != (mqtt.Tls.Key is null))
            yield return new ConfigurationFault("mqtt.tls", "certificate and key belong together", "set both or none");
    }

    private static IEnumerable<ConfigurationFault> Http(HttpOptions? http)
    {
        if (http is null)
            yield break;
        if ((http.Username is null) != (http.PasswordFile is null))
            yield return new ConfigurationFault("http.username", "user name and password belong together", "set http.username and http.passwordFile, or none of them");
        if (http.Tls is { } tls && (tls.Certificate is null || tls.Key is null))
            yield return new ConfigurationFault("http.tls", "certificate and key belong together", "set both, or leave http.tls out");
        if (!http.IsGuarded && !IPAddress.IsLoopback(http.ParsedEndpoint.Address))
        {
            yield return new ConfigurationFault(
                "http.endpoint",
                $"{http.Endpoint} is not loopback, and whoever reaches it would be answered",
                "set http.tokenFile, or http.username and http.passwordFile; or use a loopback address such as 127.0.0.1:9183");
        }
    }

    private static IEnumerable<ConfigurationFault> Disk(BufferOptions buffer)
    {
        if (buffer.Disk > 0 && buffer.Memory < BufferOptions.MemoryMinWithDisk)
        {
            yield return new ConfigurationFault(
                "buffer.memory",
                $"{Quantities.FormatSize(buffer.Memory)} is too little to read back what is on disk beside what arrives",
                $"give it {Quantities.FormatSize(BufferOptions.MemoryMinWithDisk)} or more, or set buffer.disk to \"0\"");
        }

        if (buffer.Disk is > 0 and < BufferOptions.DiskMin)
        {
            yield return new ConfigurationFault(
                "buffer.disk",
                $"{Quantities.FormatSize(buffer.Disk)} is too little to work with",
                $"give it {Quantities.FormatSize(BufferOptions.DiskMin)} or more, or \"0 B\" for memory alone");
        }
    }

    private static IEnumerable<ConfigurationFault> Files(GatewayConfiguration configuration)
    {
        MqttOptions mqtt = configuration.Mqtt;
        (string Path, string? File)[] named =
        [
            ("mqtt.passwordFile", mqtt.PasswordFile), ("mqtt.tls.ca", mqtt.Tls.Ca),
            ("mqtt.tls.certificate", mqtt.Tls.Certificate), ("mqtt.tls.key", mqtt.Tls.Key),
            ("http.tls.certificate", configuration.Http?.Tls?.Certificate), ("http.tls.key", configuration.Http?.Tls?.Key),
        ];
        foreach ((string path, string? file) in named)
        {
            if (file is not null && WhyUnreadable(file) is { } why)
                yield return new ConfigurationFault(path, $"{file} cannot be read ({why})", "name a file that this user may read") { IsOfFile = true };
        }
    }

    private static string? WhyUnreadable(string file)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            return null;
        }
        catch (FileNotFoundException)
        {
            return "it does not exist";
        }
        catch (DirectoryNotFoundException)
        {
            return "its directory does not exist";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    private static IEnumerable<ConfigurationFault> Memory(GatewayConfiguration configuration, long machineMemoryBytes)
    {
        long sum = configuration.Buffer.Memory + HeapBytesMax(configuration) + (TlsConnections(configuration) * TlsNativeBytes);
        if (sum > machineMemoryBytes / 100 * MemorySharePercent)
        {
            yield return new ConfigurationFault(
                "buffer.memory",
                $"the caps on memory add up to {sum >> 20} MiB, more than {MemorySharePercent} % of this machine's {machineMemoryBytes >> 20} MiB",
                "lower buffer.memory, maxConnections, devices.maxTableMemory or mqtt.inFlightMemory");
        }
    }
}
