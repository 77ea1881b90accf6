using System.Globalization;
using System.Text;

using IotTcpGateway.DeviceClient;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

namespace IotTcpGateway.Integration;

/// <summary>How telemetry comes out behind the broker.</summary>
internal enum Layout
{
    /// <summary>JSON, one message for each time.</summary>
    Json,

    /// <summary>JSON, one message for each value, under the channel's topic.</summary>
    JsonPerChannel,

    /// <summary>The body itself.</summary>
    Raw,
}

/// <summary>A message as it must arrive.</summary>
internal readonly record struct ExpectedMessage(MessageKey Key, string Topic, byte[] Payload);

/// <summary>
/// What the test devices measure: every frame is different, and what must come of it is told here by other means than
/// the gateway's.
/// </summary>
internal static class Sample
{
    private const long BaseMicroseconds = 1_763_900_000_000_000;
    private const uint LaterMilliseconds = 250;
    private const string Note = "Grüße \"7\"\t\u00b0";

    public static readonly IReadOnlyList<DescribedChannel> Channels =
    [
        new(1, DataType.F32, "temperature", "Cel"),
        new(2, DataType.U32, "count", ""),
        new(3, DataType.Text, "note", "§"),
    ];

    private static readonly string[] OfOneTime = ["temperature", "count", "note"];

    /// <summary>The DATA body of a frame. Every seventh has a text, every tenth a value of a later time.</summary>
    public static byte[] Body(int device, uint number)
    {
        var room = new byte[128];
        var data = new DataWriter(room, BaseTime(device, number));
        bool fits = data.Add(1, 0, Temperature(device, number)) && data.Add(2, 0, number);
        if (HasNote(number))
            fits &= data.AddText(3, 0, Encoding.UTF8.GetBytes(Note));
        if (HasLater(number))
            fits &= data.Add(1, LaterMilliseconds, Temperature(device, number) + 1);
        return fits ? room[..data.Written] : throw new InvalidOperationException("the sample is larger than its room");
    }

    /// <summary>So large that what the devices' windows let through is more than a small buffer holds.</summary>
    public static byte[] LargeBody(int device, uint number)
    {
        var room = new byte[700];
        var data = new DataWriter(room, BaseTime(device, number));
        bool fits = data.Add(2, 0, number) && data.AddBytes(4, 0, new byte[600]);
        return fits ? room[..data.Written] : throw new InvalidOperationException("the sample is larger than its room");
    }

    /// <summary>Every message that must come of a frame.</summary>
    public static IEnumerable<ExpectedMessage> Messages(
        Layout layout, string topic, string id, uint boot, uint sequence, int device, uint number)
    {
        if (layout == Layout.Raw)
            return [new ExpectedMessage(new MessageKey(id, boot, sequence, 0), topic, Body(device, number))];
        List<(long Time, string[] Names)> parts = [.. PartsOf(layout, device, number)];
        return parts.Select((part, index) => new ExpectedMessage(
            new MessageKey(id, boot, sequence, index),
            layout == Layout.JsonPerChannel ? $"{topic}/{part.Names[0]}" : topic,
            Encoding.UTF8.GetBytes(Json(id, boot, sequence, parts.Count > 1 ? index : null, part, device, number))));
    }

    private static IEnumerable<(long Time, string[] Names)> PartsOf(Layout layout, int device, uint number)
    {
        long time = BaseTime(device, number);
        string[] names = HasNote(number) ? OfOneTime : OfOneTime[..2];
        string[][] parts = layout == Layout.JsonPerChannel ? [.. names.Select(name => new[] { name })] : [names];
        foreach (string[] part in parts)
            yield return (time, part);
        if (HasLater(number))
            yield return (time + (LaterMilliseconds * 1000), ["temperature"]);
    }

    private static string Json(
        string id, uint boot, uint sequence, int? part, (long Time, string[] Names) content, int device, uint number)
    {
        bool isLater = content.Time > BaseTime(device, number);
        float temperature = Temperature(device, number) + (isLater ? 1 : 0);
        IEnumerable<string> values = content.Names.Select(name => name switch
        {
            "temperature" => string.Create(CultureInfo.InvariantCulture, $"\"temperature\":{temperature:R}"),
            "count" => string.Create(CultureInfo.InvariantCulture, $"\"count\":{number}"),
            _ => "\"note\":\"Grüße \\\"7\\\"\\t\u00b0\"",
        });
        string partText = part is null ? "" : string.Create(CultureInfo.InvariantCulture, $",\"part\":{part}");
        string all = "{" + string.Join(',', values) + "}";
        string ts = (content.Time / 1000m).ToString("0.###", CultureInfo.InvariantCulture);
        return string.Create(
            CultureInfo.InvariantCulture,
            $$"""{"device":"{{id}}","boot":{{boot}},"seq":{{sequence}}{{partText}},"ts":{{ts}},"values":{{all}}}""");
    }

    private static long BaseTime(int device, uint number) => BaseMicroseconds + (number * 1500) + device;

    private static float Temperature(int device, uint number) => device + (number % 100 / 10f);

    private static bool HasNote(uint number) => number % 7 == 0;

    private static bool HasLater(uint number) => number % 10 == 0;
}
