using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>The topics of a gateway, by its template.</summary>
internal sealed class Topics
{
    public const string DeviceMark = "{device}";

    private const string LocalDevice = "local";
    private const string CommandLevel = "/command/";
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
        afterDevice = baseTemplate[(mark + DeviceMark.Length)..] + CommandLevel;
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
        // Both come back in a result's topic: what can be no device, or would not be fit for a terminal, is no command.
        return (deviceId == LocalDevice || Names.IsDeviceId(Encoding.UTF8.GetBytes(deviceId))) && IsPlain(command);
    }

    /// <summary>
    /// Whether an answer may go to a topic that the sender of a command chose: not among the gateway's own, where it would
    /// speak with the gateway's voice, nor where the broker speaks.
    /// </summary>
    public bool IsForAnswers(string? topic)
    {
        if (!IsPublishable(topic) || topic![0] == '$' || !IsPlain(topic) || topic == GatewayStatus)
            return false;
        if (beforeDevice.Length > 0)
            return !topic.StartsWith(beforeDevice, StringComparison.Ordinal);
        string own = afterDevice[..^CommandLevel.Length];
        int end = topic.IndexOf('/', StringComparison.Ordinal);
        return end >= 0 && own.Length > 0 && !(topic[end..] + "/").StartsWith(own + "/", StringComparison.Ordinal);
    }

    /// <summary>
    /// Whether a message may be published there; what a client names as its response topic may be anything.
    /// </summary>
    public static bool IsPublishable(string? topic) =>
        !string.IsNullOrEmpty(topic) && topic.AsSpan().IndexOfAny('+', '#', '\0') < 0
        && Encoding.UTF8.GetByteCount(topic) <= TopicBytesMax;

    // A broker's bytes that were no UTF-8 have become the replacement character.
    private static bool IsPlain(string text) => !text.Any(c => char.IsControl(c) || c == '\uFFFD');

    private string BaseOf(string deviceId) => baseTemplate.Replace(DeviceMark, deviceId, StringComparison.Ordinal);
}
