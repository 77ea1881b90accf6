using MQTTnet;

namespace IotTcpGateway.Forward;

/// <summary>What the broker's CONNACK allows. MQTTnet reads it and holds to none of it.</summary>
/// <param name="IsVersion5">Whether the link speaks MQTT 5.</param>
/// <param name="Window">Messages that may be unconfirmed.</param>
/// <param name="PacketBytesMax">Largest packet that the broker takes.</param>
/// <param name="PingInterval">Time between pings; infinite for none.</param>
/// <param name="CanSubscribe">Whether it takes subscriptions with wildcards, which commands need.</param>
/// <param name="CanConfirm">Whether it takes messages at QoS 1.</param>
internal sealed record BrokerTerms(
    bool IsVersion5, int Window, long PacketBytesMax, TimeSpan PingInterval, bool CanSubscribe, bool CanConfirm)
{
    /// <summary>Largest packet that MQTT can express.</summary>
    public const long PacketBytesLimit = 268_435_460;

    public static BrokerTerms Of(MqttClientConnectResult result, MqttOptions options, bool isVersion5)
    {
        int receiveMaximum = result.ReceiveMaximum is > 0 and var maximum ? maximum : ushort.MaxValue;
        return new BrokerTerms(
            isVersion5,
            Math.Min(options.InFlight, receiveMaximum),
            result.MaximumPacketSize is > 0 and var largest ? largest : PacketBytesLimit,
            PingIntervalOf(result.ServerKeepAlive, options.KeepAlive),
            result.WildcardSubscriptionAvailable,
            // The result says 0 for MQTT 3.1.1, which has no such limit.
            !isVersion5 || result.MaximumQoS > MQTTnet.Protocol.MqttQualityOfServiceLevel.AtMostOnce);
    }

    // Half the keep-alive, whatever else is sent: a line that takes bytes and brings none is noticed.
    private static TimeSpan PingIntervalOf(ushort serverSeconds, TimeSpan keepAlive)
    {
        TimeSpan server = TimeSpan.FromSeconds(serverSeconds);
        bool isOurs = keepAlive > TimeSpan.Zero && (server == TimeSpan.Zero || keepAlive < server);
        TimeSpan shorter = isOurs ? keepAlive : server;
        return shorter == TimeSpan.Zero ? Timeout.InfiniteTimeSpan : shorter / 2;
    }
}
