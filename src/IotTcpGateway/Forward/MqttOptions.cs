namespace IotTcpGateway.Forward;

/// <summary>Section "mqtt".</summary>
internal sealed class MqttOptions
{
    /// <summary>URIs in order of preference: mqtt://host:1883 or mqtts://host:8883.</summary>
    public List<string> Brokers { get; set; } = [];

    /// <summary>Empty: iotgw-{gateway id}- and 8 hexadecimal digits of a hash of the machine id.</summary>
    public string ClientId { get; set; } = "";

    /// <summary>"5" (falls back to 3.1.1) or "3.1.1".</summary>
    public string Version { get; set; } = "5";

    public string? Username { get; set; }

    public string? PasswordFile { get; set; }

    public MqttTlsOptions Tls { get; set; } = new();

    public string Topic { get; set; } = "telemetry/{gateway}/{device}";

    /// <summary>Topic of the gateway's own status; empty: telemetry/{gateway}/status.</summary>
    public string StatusTopic { get; set; } = "";

    /// <summary>"json" or "raw".</summary>
    public string Payload { get; set; } = "json";

    public int Qos { get; set; } = 1;

    /// <summary>Messages published and not confirmed, at most.</summary>
    public int InFlight { get; set; } = 256;

    /// <summary>
    /// Bytes that messages published and not confirmed, or being made, may take; one message always goes.
    /// </summary>
    public long InFlightMemory { get; set; } = 2 * 1024 * 1024;

    public BatchOptions Batch { get; set; } = new();

    public TimeSpan KeepAlive { get; set; } = TimeSpan.FromSeconds(30);

    public TimeSpan AckTimeout { get; set; } = TimeSpan.FromSeconds(20);

    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Largest packet accepted from the broker, in bytes.</summary>
    public long MaxInboundPacket { get; set; } = 64 * 1024;
}

/// <summary>Section "mqtt.tls": files in PEM.</summary>
internal sealed class MqttTlsOptions
{
    public string? Ca { get; set; }

    public string? Certificate { get; set; }

    public string? Key { get; set; }
}

/// <summary>Section "mqtt.batch".</summary>
internal sealed class BatchOptions
{
    /// <summary>Messages of one topic in one PUBLISH, at most.</summary>
    public int Messages { get; set; } = 1;

    /// <summary>How long a batch waits to become full.</summary>
    public TimeSpan Linger { get; set; } = TimeSpan.Zero;
}
