using System.Text;

namespace IotTcpGateway.Forward;

/// <summary>The topics of a gateway, by its template.</summary>
internal sealed class Topics
{
    public const string DeviceMark = "{device}";

    private const string GatewayMark = "{gateway}";
    private const string ChannelMark = "{channel}";
    private const int CachedMax = 10_000;
    private const int TopicBytesMax = ushort.MaxValue;

    private readonly string template;
    private readonly string baseTemplate;
    private readonly string beforeDevice;
    private readonly string afterDevice;
    private readonly Dictionary<(string Device, string? Channel), string> data = [];

    public Topics(string template, string statusTopic, string gatewayId)
    {
        this.template = template.Replace(GatewayMark, gatewayId, StringComparison.Ordinal);
        HasChannel = template.Contains(ChannelMark, StringComparison.Ordinal);
        baseTemplate = this.template.EndsWith("/" + ChannelMark, StringComparison.Ordinal)
            ? this.template[..^(ChannelMark.Length + 1)]
            : this.template;
        int mark = baseTemplate.IndexOf(DeviceMark, StringComparison.Ordinal);
        beforeDevice = baseTemplate[..mark];
        afterDevice = baseTemplate[(mark + DeviceMark.Length)..] + "/command/";
        GatewayStatus = statusTopic.Length > 0
            ? statusTopic.Replace(GatewayMark, gatewayId, StringComparison.Ordinal)
            : $"telemetry/{gatewayId}/status";
        CommandFilter = BaseOf("+") + "/command/#";
    }

    /// <summary>Whether each channel has a message of its own.</summary>
    public bool HasChannel { get; }

    public string GatewayStatus { get; }

    /// <summary>Matches the commands of all devices.</summary>
    public string CommandFilter { get; }

    /// <summary>
    /// The data topic of a device, and of a channel if the template names it; made once. For the publishing loop alone.
    /// </summary>
    public string Data(string deviceId, string? channel)
    {
        if (data.TryGetValue((deviceId, channel), out string? topic))
            return topic;
        if (data.Count >= CachedMax)
            data.Clear();
        topic = template.Replace(DeviceMark, deviceId, StringComparison.Ordinal);
        if (channel is not null)
            topic = topic.Replace(ChannelMark, channel, StringComparison.Ordinal);
        return data[(deviceId, channel)] = topic;
    }

    public string Meta(string deviceId) => BaseOf(deviceId) + "/meta";

    public string Status(string deviceId) => BaseOf(deviceId) + "/status";

    public string Gaps(string deviceId) => BaseOf(deviceId) + "/gaps";

    public string Result(string deviceId, string command) => $"{BaseOf(deviceId)}/result/{command}";

    /// <summary>Device and name of a command's topic; false if it is none.</summary>
    public bool TryReadCommand(string topic, out string deviceId, out string command)
    {
        deviceId = command = "";
        if (!topic.StartsWith(beforeDevice, StringComparison.Ordinal))
            return false;
        int end = topic.IndexOf('/', beforeDevice.Length);
        if (end < 0 || !topic.AsSpan(end).StartsWith(afterDevice, StringComparison.Ordinal))
            return false;
        int name = end + afterDevice.Length;
        if (end == beforeDevice.Length || name == topic.Length)
            return false;
        deviceId = topic[beforeDevice.Length..end];
        command = topic[name..];
        return true;
    }

    /// <summary>
    /// Whether a message may be published there; what a client names as its response topic may be anything.
    /// </summary>
    public static bool IsPublishable(string? topic) =>
        !string.IsNullOrEmpty(topic) && topic.AsSpan().IndexOfAny('+', '#', '\0') < 0
        && Encoding.UTF8.GetByteCount(topic) <= TopicBytesMax;

    private string BaseOf(string deviceId) => baseTemplate.Replace(DeviceMark, deviceId, StringComparison.Ordinal);
}
