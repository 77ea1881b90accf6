using System.Net;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;
using IotTcpGateway.Protocol;
using IotTcpGateway.Tls;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Configuration;

/// <summary>Every key of the configuration: the one place from which it is read, checked, and described.</summary>
internal static class GatewayRules
{
    private const int ListenersMax = 32;
    private const int BrokersMax = 16;

    public static SectionRule<GatewayConfiguration> Root { get; } = new SectionRule<GatewayConfiguration>()
        .With("gateway", Gateway(), c => c.Gateway, (c, v) => c.Gateway = v, "This gateway.")
        .With("listeners", new ListRule<ListenerOptions>(Listener(), ListenersMax), c => c.Listeners, (c, v) => c.Listeners = v,
            "Where devices connect.")
        .With("devices", Devices(), c => c.Devices, (c, v) => c.Devices = v, "The devices' keys and limits.")
        .With("buffer", Buffer(), c => c.Buffer, (c, v) => c.Buffer = v, "What keeps frames until the broker has confirmed them.")
        .With("mqtt", Mqtt(), c => c.Mqtt, (c, v) => c.Mqtt = v, "The broker.")
        .With("http", Http(), c => c.Http, (c, v) => c.Http = v, "Health, metrics and status over HTTP; off if absent.")
        .With("log", Log(), c => c.Log, (c, v) => c.Log = v, "The log.");

    private static SectionRule<GatewayOptions> Gateway() => new SectionRule<GatewayOptions>()
        .With("id", new TextRule("1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot, not \"local\" or \"status\"", IsId),
            o => o.Id, (o, v) => o.Id = v, "The gateway's id in topics; by default the host name.")
        .With("trustClock", new FlagRule(), o => o.TrustClock, (o, v) => o.TrustClock = v,
            "Believe the wall clock though the kernel does not call it synchronised: for hosts with an RTC or a hypervisor's clock.");

    private static SectionRule<ListenerOptions> Listener() => new SectionRule<ListenerOptions>()
        .With("name", new TextRule("1 to 64 of A-Z a-z 0-9 . _ -", IsId), o => o.Name, (o, v) => o.Name = v,
            "A name for logs and metrics.")
        .With("endpoint", new TextRule("an IP address and port, such as 0.0.0.0:7183 or [::]:7183", IsEndpoint),
            o => o.Endpoint, (o, v) => o.Endpoint = v, "Address and port to listen on; [::] takes IPv4 too.")
        .With("protocol", new ChoiceRule<string>(("itgp", "itgp")), o => o.Protocol, (o, v) => o.Protocol = v,
            "What devices speak.")
        .With("authentication", new ListRule<string>(new ChoiceRule<string>(("hmac", "hmac"), ("none", "none"), ("certificate", "certificate")), 3),
            o => o.Authentication, (o, v) => o.Authentication = v, "How devices may show who they are.")
        .With("allowFrom", new ListRule<string>(new TextRule("a CIDR block such as 192.168.0.0/16 or fd00::/8", IsNetwork), 256),
            o => o.AllowFrom, (o, v) => o.AllowFrom = v, "Networks that are let in; empty lets everybody in.")
        .With("maxConnections", new IntegerRule(1, 100_000), o => o.MaxConnections, (o, v) => o.MaxConnections = v,
            "Devices connected at once.")
        .With("maxConnectionsPerAddress", new IntegerRule(1, 100_000), o => o.MaxConnectionsPerAddress,
            (o, v) => o.MaxConnectionsPerAddress = v, "Devices connected at once from one address.")
        .With("maxUnauthenticated", new IntegerRule(2, 100_000), o => o.MaxUnauthenticated, (o, v) => o.MaxUnauthenticated = v,
            "Connections at once that have not authenticated yet; one address may have half of them. When they are taken, the oldest makes room, but not in its first 250 ms.")
        .With("handshakeTimeout", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(5)), o => o.HandshakeTimeout,
            (o, v) => o.HandshakeTimeout = v, "From connecting to WELCOME.")
        .With("frameTimeout", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(5)), o => o.FrameTimeout,
            (o, v) => o.FrameTimeout = v, "From a frame's first byte to its last.")
        .With("idleTimeout", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(18)), o => o.IdleTimeout,
            (o, v) => o.IdleTimeout = v, "With nothing received for so long, the connection is closed.")
        .With("maxBody", new SizeRule(64, ProtocolConstants.BodyBytesMax), o => o.MaxBody, (o, v) => o.MaxBody = v,
            "Largest DATA body.")
        .With("framesPerSecond", new IntegerRule(1, 1_000_000), o => o.FramesPerSecond, (o, v) => o.FramesPerSecond = v,
            "DATA frames a second of one device, with bursts of one second; above it reading slows.")
        .With("priority", new IntegerRule(1, 3), o => o.Priority, (o, v) => o.Priority = v,
            "What matters most is 3: it is delivered more often, and dropped last when the buffer is full.")
        .With("maxWindow", new IntegerRule(1, 4096), o => o.MaxWindow, (o, v) => o.MaxWindow = v,
            "DATA frames that a device may have unacknowledged.")
        .With("badFramesPerMinute", new IntegerRule(1, 1_000_000), o => o.BadFramesPerMinute, (o, v) => o.BadFramesPerMinute = v,
            "Broken frames and handshakes of one address in a minute, before it is refused for a minute.")
        .With("offencesPerMinute", new IntegerRule(1, 1_000_000), o => o.OffencesPerMinute, (o, v) => o.OffencesPerMinute = v,
            "Failed proofs, and right frames at the wrong time, of one address in a minute, before it is refused for a minute.")
        .With("tls", ListenerTls(), o => o.Tls, (o, v) => o.Tls = v, "TLS 1.2 and 1.3; plain TCP if absent.");

    private static SectionRule<ListenerTlsOptions> ListenerTls() => new SectionRule<ListenerTlsOptions>()
        .With("certificate", Path("a certificate in PEM"), o => o.Certificate, (o, v) => o.Certificate = v,
            "The gateway's certificate for devices, then any intermediates.")
        .With("key", Path("a private key in PEM"), o => o.Key, (o, v) => o.Key = v,
            "The key of that certificate, without a passphrase.")
        .With("clientCa", Path("certificates in PEM"), o => o.ClientCa, (o, v) => o.ClientCa = v,
            "Authorities, roots and intermediates, that vouch for devices; without it no device is asked for a certificate.")
        .With("crl", Path("revocation lists in PEM, or one in DER"), o => o.Crl, (o, v) => o.Crl = v,
            "What these authorities have revoked.")
        .With("handshakesPerSecond", new IntegerRule(1, 10_000), o => o.HandshakesPerSecond, (o, v) => o.HandshakesPerSecond = v,
            "TLS handshakes begun a second; those that come faster wait in order.");

    private static SectionRule<DevicesOptions> Devices() => new SectionRule<DevicesOptions>()
        .With("file", WrittenPath("the device key file"), o => o.File, (o, v) => o.File = v,
            "The device key file, written by \"iotgw device\"; a missing one is an empty one.")
        .With("enrolment", new FlagRule(), o => o.Enrolment, (o, v) => o.Enrolment = v,
            "Devices that come without a key and that the key file does not know wait for \"iotgw device approve\".")
        .With("maxDevices", new IntegerRule(1, 1_000_000), o => o.MaxDevices, (o, v) => o.MaxDevices = v,
            "Devices remembered; those that the key file does not know share what its own leave.")
        .With("maxChannels", new IntegerRule(1, 65_536), o => o.MaxChannels, (o, v) => o.MaxChannels = v,
            "Channels that a connection may describe.")
        .With("maxTableMemory", new SizeRule(64 << 10, 1L << 30), o => o.MaxTableMemory, (o, v) => o.MaxTableMemory = v,
            "Memory that all descriptions together may take.");

    private static SectionRule<BufferOptions> Buffer() => new SectionRule<BufferOptions>()
        .With("ack", new ChoiceRule<AckPolicy>(("safe", AckPolicy.Safe), ("memory", AckPolicy.Memory)), o => o.Ack,
            (o, v) => o.Ack = v,
            "When a frame is acknowledged: once the broker confirmed it or it is synced to disk, or once it is in memory.")
        .With("memory", new SizeRule(128 << 10, 16L << 30), o => o.Memory, (o, v) => o.Memory = v,
            "Memory that frames may take; a hard cap. With a disk at least 512 KiB.")
        .With("whenFull",
            new ChoiceRule<WhenFull>(
                ("refuse", WhenFull.Refuse), ("drop-oldest", WhenFull.DropOldest), ("drop-newest", WhenFull.DropNewest)),
            o => o.WhenFull, (o, v) => o.WhenFull = v,
            "What happens when memory and disk are full: devices wait, or frames are dropped, counted and told.")
        .With("directory", WrittenPath("the buffer's directory"), o => o.Directory, (o, v) => o.Directory = v,
            "Where frames are kept that the broker does not take; made if it is missing.")
        .With("disk", new SizeRule(0, 1L << 40), o => o.Disk, (o, v) => o.Disk = v,
            "Disk that frames may take, a hard cap; 0 for memory alone, else at least 4 MiB.")
        .With("quarantine", new SizeRule(1 << 20, 16L << 30), o => o.Quarantine, (o, v) => o.Quarantine = v,
            "Disk for frames that the broker refused for good; the oldest go.")
        .With("spillAfter", Duration(TimeSpan.Zero, TimeSpan.FromMinutes(10)), o => o.SpillAfter, (o, v) => o.SpillAfter = v,
            "Once the oldest frame waits so long for the broker, all are put on disk until the backlog is gone.")
        .With("maxAge", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(3650)), o => o.MaxAge, (o, v) => o.MaxAge = v,
            "A frame that waited so long is given up; time in which the gateway does not run does not count.")
        .With("drain",
            new ChoiceRule<DrainOrder>(("in-order", DrainOrder.InOrder), ("live-first", DrainOrder.LiveFirst)),
            o => o.Drain, (o, v) => o.Drain = v, "After an outage: all in order, or what arrives first and the backlog behind it.")
        .With("drainShare", new IntegerRule(1, 100), o => o.DrainShare, (o, v) => o.DrainShare = v,
            "With live-first, percent of the frames that the backlog gets while live ones wait too.")
        .With("drainRate", new IntegerRule(0, 1_000_000), o => o.DrainRate, (o, v) => o.DrainRate = v,
            "Frames of the backlog a second, so that a returning broker is not flooded; 0 for no limit.");

    private static SectionRule<MqttOptions> Mqtt() => new SectionRule<MqttOptions>()
        .With("brokers",
            new ListRule<string>(
                new TextRule("mqtt://host[:1883] or mqtts://host[:8883]", text => BrokerAddress.TryParse(text) is not null), BrokersMax),
            o => o.Brokers, (o, v) => o.Brokers = v, "Brokers in order of preference.")
        .With("clientId", new TextRule("1 to 128 printable characters", IsClientId), o => o.ClientId, (o, v) => o.ClientId = v,
            "By default iotgw-{id}- and 8 hexadecimal digits of a hash of the machine id.")
        .With("version", new MqttVersionRule(), o => o.Version, (o, v) => o.Version = v,
            "5 falls back to 3.1.1 when the broker does not speak it.")
        .With("username", new TextRule("a text"), o => o.Username, (o, v) => o.Username = v, "User name at the broker.")
        .With("passwordFile", Path("the password"), o => o.PasswordFile, (o, v) => o.PasswordFile = v,
            "File with the password, or credential:NAME for one that systemd hands over.")
        .With("tls", Tls(), o => o.Tls, (o, v) => o.Tls = v, "For mqtts.")
        .With("topic", new TextRule("a topic that contains {device}, may contain {gateway}, and {channel} as its last level", IsTemplate),
            o => o.Topic, (o, v) => o.Topic = v, "Topic of telemetry.")
        .With("statusTopic", new TextRule("a topic without wildcards", IsTopic), o => o.StatusTopic, (o, v) => o.StatusTopic = v,
            "Topic of the gateway's own status; by default telemetry/{gateway}/status.")
        .With("payload", new ChoiceRule<string>(("json", "json"), ("raw", "raw")), o => o.Payload, (o, v) => o.Payload = v,
            "How telemetry is written.")
        .With("qos", new IntegerRule(0, 1), o => o.Qos, (o, v) => o.Qos = v, "0 only with buffer.ack \"memory\".")
        .With("inFlight", new IntegerRule(1, 10_000), o => o.InFlight, (o, v) => o.InFlight = v,
            "Messages published and not yet confirmed.")
        .With("inFlightMemory", new SizeRule(64 << 10, 1L << 30), o => o.InFlightMemory, (o, v) => o.InFlightMemory = v,
            "Memory that these and the batches being filled may take; one message is always let through.")
        .With("batch", Batch(), o => o.Batch, (o, v) => o.Batch = v, "Several messages of a topic in one, as a JSON array.")
        .With("keepAlive", Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(18)), o => o.KeepAlive, (o, v) => o.KeepAlive = v,
            "Longest silence towards the broker.")
        .With("ackTimeout", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1)), o => o.AckTimeout,
            (o, v) => o.AckTimeout = v, "Without a PUBACK for so long, the link is dropped and made anew.")
        .With("connectTimeout", Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(15)), o => o.ConnectTimeout,
            (o, v) => o.ConnectTimeout = v, "From looking the name up to CONNACK.")
        .With("maxInboundPacket", new SizeRule(1 << 10, 16 << 20), o => o.MaxInboundPacket, (o, v) => o.MaxInboundPacket = v,
            "Largest packet accepted from the broker.");

    private static SectionRule<MqttTlsOptions> Tls() => new SectionRule<MqttTlsOptions>()
        .With("ca", Path("certificates in PEM"), o => o.Ca, (o, v) => o.Ca = v,
            "Authorities that may vouch for the broker; by default the system's.")
        .With("certificate", Path("a certificate in PEM"), o => o.Certificate, (o, v) => o.Certificate = v,
            "The gateway's own certificate.")
        .With("key", Path("a private key in PEM"), o => o.Key, (o, v) => o.Key = v, "The key of that certificate.");

    private static SectionRule<BatchOptions> Batch() => new SectionRule<BatchOptions>()
        .With("messages", new IntegerRule(1, 1000), o => o.Messages, (o, v) => o.Messages = v, "Messages in one, at most.")
        .With("linger", Duration(TimeSpan.Zero, TimeSpan.FromMinutes(1)), o => o.Linger, (o, v) => o.Linger = v,
            "How long a message may wait for others.");

    private static SectionRule<HttpOptions> Http() => new SectionRule<HttpOptions>()
        .With("endpoint", new TextRule("an IP address and port, such as 127.0.0.1:9183", IsEndpoint), o => o.Endpoint,
            (o, v) => o.Endpoint = v, "Where HTTP is answered; off loopback only with a token or a password.")
        .With("tokenFile", Path("the token"), o => o.TokenFile, (o, v) => o.TokenFile = v,
            "File with the token that a client shows as \"Authorization: Bearer …\"; whoever does not is not answered.")
        .With("username", new TextRule("a text without colon", IsUsername), o => o.Username, (o, v) => o.Username = v,
            "User name of HTTP basic authentication.")
        .With("passwordFile", Path("the password"), o => o.PasswordFile, (o, v) => o.PasswordFile = v,
            "File with the password of that user.")
        .With("tls", HttpTls(), o => o.Tls, (o, v) => o.Tls = v, "HTTPS in place of HTTP.");

    private static SectionRule<HttpTlsOptions> HttpTls() => new SectionRule<HttpTlsOptions>()
        .With("certificate", Path("a certificate in PEM"), o => o.Certificate, (o, v) => o.Certificate = v,
            "The certificate, and behind it those between it and the authority.")
        .With("key", Path("a private key in PEM"), o => o.Key, (o, v) => o.Key = v, "The key of that certificate.");

    private static SectionRule<LogOptions> Log() => new SectionRule<LogOptions>()
        .With("level",
            new ChoiceRule<LogLevel>(
                ("debug", LogLevel.Debug), ("information", LogLevel.Information), ("warning", LogLevel.Warning), ("error", LogLevel.Error)),
            o => o.Level, (o, v) => o.Level = v, "Lowest level that is logged.");

    private static DurationRule Duration(TimeSpan min, TimeSpan max) => new(min, max);

    private static PathRule Path(string what) => new(what);

    private static PathRule WrittenPath(string what) => new(what, isWritten: true);

    private static bool IsId(string text) => Names.IsDeviceId(Encoding.UTF8.GetBytes(text));

    private static bool IsEndpoint(string text) => text.Contains(':') && IPEndPoint.TryParse(text, out _)
        && (text[0] == '[' || text.IndexOf(':') == text.LastIndexOf(':'));

    private static bool IsUsername(string text) => text.Length > 0 && !text.Any(c => c == ':' || char.IsControl(c));

    private static bool IsNetwork(string text) => IPNetwork.TryParse(text, out _);

    private static bool IsClientId(string text) => text.Length is > 0 and <= 128 && !text.Any(char.IsControl);

    private static bool IsTopic(string text) => text.Length is > 0 and <= 1024 && !text.Any(c => c is '+' or '#' || char.IsControl(c));

    private static bool IsTemplate(string text)
    {
        string[] levels = text.Split('/');
        int channel = Array.FindIndex(levels, level => level.Contains("{channel}", StringComparison.Ordinal));
        return IsTopic(text)
            && levels.Count(level => level == "{device}") == 1
            && (channel < 0 || (channel == levels.Length - 1 && levels[channel] == "{channel}"))
            && levels.All(level => level is "{device}" or "{channel}" or "{gateway}" || !level.Contains('{'));
    }
}
