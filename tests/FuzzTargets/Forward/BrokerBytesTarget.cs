using IotTcpGateway.Commands;
using IotTcpGateway.Forward;
using IotTcpGateway.Fuzz.Protocol;

using MQTTnet;
using MQTTnet.Adapter;
using MQTTnet.Diagnostics.Logger;
using MQTTnet.Formatter;
using MQTTnet.Packets;

namespace IotTcpGateway.Fuzz.Forward;

/// <summary>
/// Bytes from a broker, through the link's stream with its cap and the MQTT client's own decoder to the commands: only
/// what counts as a failure of the link is thrown; no packet over the cap is waited for; every command comes to exactly
/// one answer, within its limits, on a topic that can be published to.
/// </summary>
/// <remarks>
/// Input: a byte of options (bit 0: MQTT 3.1.1; bits 1 to 3: the size of the pieces in which it arrives), then the
/// bytes. The client behind them is not started: what it does with a packet that is no PUBLISH is its own affair.
/// </remarks>
internal static class BrokerBytesTarget
{
    private const int PacketBytesMax = 2048;

    private static readonly int[] Pieces = [int.MaxValue, 1, 2, 3, 7, 64, 500, 1000];

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        MqttProtocolVersion version = (input[0] & 1) != 0 ? MqttProtocolVersion.V311 : MqttProtocolVersion.V500;
        byte[] bytes = input[1..].ToArray();
        using var channel = new BytesChannel(bytes, Pieces[(input[0] >> 1) % Pieces.Length], PacketBytesMax);
        var formatter = new MqttPacketFormatterAdapter(version, new MqttBufferWriter(4096, 65536));
        using var adapter = new MqttChannelAdapter(channel, formatter, MqttNetNullLogger.Instance);
        var handling = new CommandHandling();
        while (TryReceive(adapter, out MqttPacket? packet))
        {
            if (packet is MqttPublishPacket publish)
                handling.Take(publish);
        }

        CheckCap(bytes, channel);
    }

    private static bool TryReceive(MqttChannelAdapter adapter, out MqttPacket? packet)
    {
        packet = null;
        Task<MqttPacket> receiving = adapter.ReceivePacketAsync(CancellationToken.None);
        Require.That(receiving.IsCompleted, "it waits though everything is there");
        try
        {
            packet = receiving.GetAwaiter().GetResult();
            return packet is not null;
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            return false;
        }
    }

    // The lengths are followed here in another way: a packet over the cap ends the link before its body is asked for.
    private static void CheckCap(ReadOnlySpan<byte> bytes, BytesChannel channel)
    {
        int at = 0;
        while (at + 1 < bytes.Length)
        {
            long length = 0;
            int digits = 0;
            do
            {
                if (at + 1 + digits >= bytes.Length)
                    return;
                length |= (long)(bytes[at + 1 + digits] & 0x7F) << (7 * digits);
            }
            while ((bytes[at + 1 + digits++] & 0x80) != 0 && digits < 5);
            if (length > PacketBytesMax)
            {
                Require.That(channel.Passed <= at + 1 + digits, $"{channel.Passed} bytes came through, though at {at} {length} are announced");
                return;
            }

            if (digits == 5)
                return;
            at += 1 + digits + (int)length;
        }
    }

    /// <summary>What the gateway makes of the messages; half of the devices are connected.</summary>
    private sealed class CommandHandling : ICommandReceiver
    {
        private readonly Topics topics = new("telemetry/{gateway}/{device}", "", "gw");
        private readonly CommandBoard board = new();
        private readonly CommandIntake intake;
        private int received;

        public CommandHandling()
        {
            intake = new CommandIntake(topics, board);
            board.Attach("pump-7", this);
        }

        public string? Receive(CommandRequest request)
        {
            received++;
            Check(request);
            return request.Payload.Length % 2 == 0 ? null : "the device has not answered earlier commands";
        }

        public void Take(MqttPublishPacket publish)
        {
            received = 0;
            bool isCommand = !publish.Retain && topics.TryReadCommand(publish.Topic, out string device, out string name)
                && device.Length > 0 && !device.Contains('/') && name.Length > 0;
            intake.Take(new MqttApplicationMessage
            {
                Topic = publish.Topic,
                Payload = publish.Payload,
                Retain = publish.Retain,
                ResponseTopic = publish.ResponseTopic,
                CorrelationData = publish.CorrelationData,
            });
            int answers = 0;
            while (board.Answers.TryRead(out CommandAnswer? answer))
            {
                answers++;
                Check(answer.Request);
                Require.That(answer.Error is not null, "nobody answered, and there is an answer");
            }

            Require.That(isCommand || (answers == 0 && received == 0), "what is no command was obeyed");
            Require.That(answers <= 1 && received <= 1, "a command came twice");
        }

        private void Check(CommandRequest request)
        {
            Require.That(request.DeviceId.Length > 0 && request.Name.Length > 0, "a command without a name");
            Require.That(request.Payload.Length <= PacketBytesMax, "a payload larger than a packet");
            Require.That(
                (request.CorrelationData?.Length ?? 0) <= CommandIntake.CorrelationBytesMax, "unbounded correlation data");
            string topic = request.ResponseTopic ?? topics.Result(request.DeviceId, request.Name);
            Require.That(Topics.IsPublishable(topic), $"nobody can publish the answer to {topic}");
        }
    }
}
