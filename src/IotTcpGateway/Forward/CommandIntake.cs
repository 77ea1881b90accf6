using System.Buffers;
using System.Text;

using IotTcpGateway.Commands;

using MQTTnet;

namespace IotTcpGateway.Forward;

/// <summary>Makes commands of the messages that the broker sends.</summary>
internal sealed class CommandIntake(Topics topics, CommandBoard commands)
{
    /// <summary>A COMMAND frame holds the length of the name in one byte.</summary>
    public const int NameBytesMax = byte.MaxValue;

    /// <summary>Most bytes of MQTT 5 correlation data: it is kept until the device has answered.</summary>
    public const int CorrelationBytesMax = 1024;

    /// <summary>Most bytes of an MQTT 5 response topic, which is kept as long.</summary>
    public const int ResponseTopicBytesMax = 1024;

    public void Take(MqttApplicationMessage message)
    {
        // A retained command would be obeyed anew at every connect, and a topic with a wildcard in it, which no broker
        // may send, leads to a result topic that the client refuses: with it the link would be dropped, again and again.
        if (message.Retain || !Topics.IsPublishable(message.Topic)
            || !topics.TryReadCommand(message.Topic, out string deviceId, out string name))
        {
            return;
        }

        var request = new CommandRequest(
            deviceId,
            name,
            message.Payload.ToArray(),
            IsResponseTopic(message.ResponseTopic) ? message.ResponseTopic : null,
            message.CorrelationData);
        if (Encoding.UTF8.GetByteCount(name) > NameBytesMax)
            Refuse(request, $"the name is over {NameBytesMax} bytes");
        else if (request.CorrelationData?.Length > CorrelationBytesMax)
            Refuse(request, $"the correlation data are over {CorrelationBytesMax} bytes");
        else
            commands.Post(request);
    }

    private bool IsResponseTopic(string? topic) =>
        topics.IsForAnswers(topic) && Encoding.UTF8.GetByteCount(topic!) <= ResponseTopicBytesMax;

    // What is too long to be kept until a device answers is not kept until the broker takes the refusal either.
    private void Refuse(CommandRequest request, string why)
    {
        bool isShort = request.CorrelationData is not { Length: > CorrelationBytesMax };
        CommandRequest kept = request with
        {
            Payload = [],
            CorrelationData = isShort ? request.CorrelationData : null,
        };
        commands.Answer(new CommandAnswer(kept, 0, [], why));
    }
}
