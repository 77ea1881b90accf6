using System.Buffers;
using System.Text;
using System.Text.Json;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Forward.Payloads;

/// <summary>Payloads of the retained topics, of command results and of gap reports.</summary>
internal static class StatusPayloads
{
    public static byte[] Gateway(
        bool isOnline, string gatewayId, string version, long? sinceUnixMilliseconds, DiskStatus? disk = null) => Write(json =>
    {
        json.WriteString("state", isOnline ? "online" : "offline");
        json.WriteString("gateway", gatewayId);
        json.WriteString("version", version);
        if (sinceUnixMilliseconds is { } since)
            json.WriteNumber("since", since);
        if (disk is null)
            return;
        json.WriteString("disk", DiskStatus.Word(disk.State));
        if (disk.Error.Length > 0)
            json.WriteString("diskError", disk.Error);
    });

    public static byte[] DeviceStatus(DeviceState state) => Write(json =>
    {
        json.WriteString("state", state.IsOnline ? "online" : "offline");
        json.WriteString("device", state.DeviceId);
        if (!state.IsOnline)
            json.WriteString("reason", state.Reason);
        json.WriteString("address", state.Address);
        if (state.SinceUnixMilliseconds > 0)
            json.WriteNumber("since", state.SinceUnixMilliseconds);
    });

    public static byte[] DeviceMeta(DeviceState state) => Write(json =>
    {
        json.WriteString("device", state.DeviceId);
        json.WriteString("firmware", state.Firmware);
        json.WriteStartArray("channels");
        foreach (Channel channel in state.Channels?.Channels ?? [])
        {
            json.WriteStartObject();
            json.WriteNumber("channel", channel.Number);
            json.WriteString("name", channel.Name);
            json.WriteString("type", DataTypes.Word(channel.Type));
            json.WriteString("unit", channel.Unit);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    public static byte[] CommandResult(CommandAnswer answer) => Write(json =>
    {
        if (answer.Error is not null)
        {
            json.WriteString("error", answer.Error);
            return;
        }

        json.WriteNumber("status", answer.Status);
        if (System.Text.Unicode.Utf8.IsValid(answer.Payload))
            json.WriteString("payload", Encoding.UTF8.GetString(answer.Payload));
        else
            json.WriteBase64String("base64", answer.Payload);
    });

    public static byte[] Gap(GapReport report) => Write(json =>
    {
        json.WriteString("device", report.DeviceId);
        json.WriteNumber("boot", report.BootId);
        json.WriteNumber("from", report.From);
        json.WriteNumber("to", report.To);
        json.WriteNumber("count", report.Count);
        json.WriteString("reason", DropReasons.Word(report.Reason));
        if (report.UnixMilliseconds > 0)
            json.WriteNumber("ts", report.UnixMilliseconds);
    });

    private static byte[] Write(Action<Utf8JsonWriter> content)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(bytes);
        json.WriteStartObject();
        content(json);
        json.WriteEndObject();
        json.Flush();
        return bytes.WrittenSpan.ToArray();
    }
}
