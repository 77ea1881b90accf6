using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

using IotTcpGateway.Buffer;
using IotTcpGateway.Configuration;
using IotTcpGateway.Forward;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

namespace IotTcpGateway.Cli;

/// <summary>
/// Writes stored frames as the messages that the forwarder would have made of them, a line of JSON each: topic, and
/// payload or "base64"; with raw payloads the user properties, of a frame in quarantine the reason.
/// </summary>
internal sealed class MessageLines : IMessageSink, IDisposable
{
    private static readonly JsonWriterOptions Options =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private readonly ArrayBufferWriter<byte> line = new(1024);
    private readonly Utf8JsonWriter json;
    private readonly Stream output;
    private readonly Topics topics;
    private readonly IPayloadEncoder encoder;
    private readonly uint hostBoot = HostBoot.Id();
    private readonly bool isRaw;
    private readonly bool hasProperties;
    private DeviceStream stream = new("", 0, priority: 1, slot: 0);
    private uint sequence;
    private string reason = "";

    public MessageLines(GatewayConfiguration configuration, GatewayClock clock, Stream output)
    {
        this.output = output;
        json = new Utf8JsonWriter(line, Options);
        MqttOptions mqtt = configuration.Mqtt;
        topics = new Topics(mqtt.Topic, mqtt.StatusTopic, configuration.Gateway.Id);
        isRaw = mqtt.Payload == "raw";
        hasProperties = isRaw && mqtt.Version == "5";
        encoder = isRaw ? new RawPayload() : new JsonPayload(clock, topics.HasChannel);
    }

    public long Messages { get; private set; }

    public long Frames { get; private set; }

    public long FramesWithoutMessage { get; private set; }

    public void Write(in StoredFrame stored)
    {
        SpilledFrame frame = stored.Frame;
        if (stream.BootId != frame.BootId || !IsOf(stream, frame.DeviceId))
            stream = new DeviceStream(Encoding.UTF8.GetString(frame.DeviceId), frame.BootId, stored.Journal.Lane, slot: 0);
        sequence = frame.Sequence;
        reason = Encoding.UTF8.GetString(frame.Reason);
        var record = new BufferedRecord
        {
            Handle = new RecordHandle(stored.Id),
            Stream = stream,
            Sequence = frame.Sequence,
            Channels = stored.Channels,
            Arrival = frame.Arrival.IsSynchronised || frame.HostBoot == hostBoot
                ? frame.Arrival
                : frame.Arrival with { MonotonicMicroseconds = Arrival.OfAnotherBoot },
            Body = frame.Body,
        };
        Frames++;
        if (encoder.Encode(record, this) == 0)
            FramesWithoutMessage++;
    }

    /// <inheritdoc/>
    public void Message(string? channel, ReadOnlySpan<byte> payload)
    {
        line.ResetWrittenCount();
        json.Reset(line);
        json.WriteStartObject();
        json.WriteString("topic"u8, topics.Data(stream.DeviceId, channel));
        WritePayload(payload);
        if (reason.Length > 0)
            json.WriteString("reason"u8, reason);
        json.WriteEndObject();
        json.Flush();
        line.Write("\n"u8);
        output.Write(line.WrittenSpan);
        Messages++;
    }

    public void Dispose()
    {
        json.Dispose();
        (encoder as IDisposable)?.Dispose();
    }

    private void WritePayload(ReadOnlySpan<byte> payload)
    {
        if (isRaw)
        {
            json.WriteBase64String("base64"u8, payload);
        }
        else
        {
            json.WritePropertyName("payload"u8);
            json.WriteRawValue(payload, skipInputValidation: true);
        }

        if (!hasProperties)
            return;
        json.WriteStartObject("userProperties"u8);
        json.WriteString("boot"u8, stream.BootId.ToString(CultureInfo.InvariantCulture));
        json.WriteString("seq"u8, sequence.ToString(CultureInfo.InvariantCulture));
        json.WriteEndObject();
    }

    private static bool IsOf(DeviceStream stream, ReadOnlySpan<byte> deviceId) =>
        stream.DeviceId.Length == deviceId.Length && Ascii.Equals(deviceId, stream.DeviceId);
}
