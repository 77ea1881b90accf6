namespace IotTcpGateway.Forward;

/// <summary>The topics of a gateway, by its template.</summary>
internal sealed class Topics
{
    public const string DeviceMark = "{device}";

    private const string GatewayMark = "{gateway}";
    private const string ChannelMark = "{channel}";

    private readonly string template;
    private readonly string baseTemplate;

    public Topics(string template, string statusTopic, string gatewayId)
    {
        this.template = template.Replace(GatewayMark, gatewayId, StringComparison.Ordinal);
        HasChannel = template.Contains(ChannelMark, StringComparison.Ordinal);
        baseTemplate = this.template.EndsWith("/" + ChannelMark, StringComparison.Ordinal)
            ? this.template[..^(ChannelMark.Length + 1)]
            : this.template;
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

    public string Data(string deviceId) => template.Replace(DeviceMark, deviceId, StringComparison.Ordinal);

    public string Data(string deviceId, string channel) =>
        Data(deviceId).Replace(ChannelMark, channel, StringComparison.Ordinal);

    public string Meta(string deviceId) => BaseOf(deviceId) + "/meta";

    public string Status(string deviceId) => BaseOf(deviceId) + "/status";

    public string Result(string deviceId, string command) => $"{BaseOf(deviceId)}/result/{command}";

    /// <summary>Device and name of a command's topic; false if it is none.</summary>
    public bool TryReadCommand(string topic, out string deviceId, out string command)
    {
        deviceId = command = "";
        int mark = baseTemplate.IndexOf(DeviceMark, StringComparison.Ordinal);
        string before = baseTemplate[..mark];
        string after = baseTemplate[(mark + DeviceMark.Length)..] + "/command/";
        if (!topic.StartsWith(before, StringComparison.Ordinal))
            return false;
        int end = topic.IndexOf('/', mark);
        if (end < 0 || !topic.AsSpan(end).StartsWith(after, StringComparison.Ordinal))
            return false;
        deviceId = topic[mark..end];
        command = topic[(end + after.Length)..];
        return deviceId.Length > 0 && command.Length > 0;
    }

    private string BaseOf(string deviceId) => baseTemplate.Replace(DeviceMark, deviceId, StringComparison.Ordinal);
}
