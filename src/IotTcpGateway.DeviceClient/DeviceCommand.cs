using System.Text;

namespace IotTcpGateway.DeviceClient;

/// <summary>Something that the gateway asks the device to do.</summary>
/// <param name="Name">What to do, 1–255 bytes of UTF-8.</param>
/// <param name="Payload">Its opaque parameters; may be empty.</param>
public sealed record DeviceCommand(string Name, ReadOnlyMemory<byte> Payload);

/// <summary>What came of a command.</summary>
/// <param name="Status">0 for done; other values are the device's own. The client itself answers 254 and 255.</param>
/// <param name="Payload">Opaque; may be empty. Over the gateway's largest body it is replaced by status 255.</param>
public readonly record struct DeviceCommandReply(byte Status, ReadOnlyMemory<byte> Payload)
{
    /// <summary>Sent when 16 commands wait already.</summary>
    public const byte StatusBusy = 254;

    /// <summary>Sent when there is no handler, when it threw, or when its answer is too long.</summary>
    public const byte StatusFailed = 255;

    /// <summary>Status 0 without a payload.</summary>
    public static DeviceCommandReply Done => default;

    /// <summary>A reply whose payload is a text in UTF-8.</summary>
    public static DeviceCommandReply WithText(byte status, string text) => new(status, Encoding.UTF8.GetBytes(text));

    internal static DeviceCommandReply Busy(string text) => WithText(StatusBusy, text);

    internal static DeviceCommandReply Failed(string text) => WithText(StatusFailed, text);
}
