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

    public void Take(MqttApplicationMessage message)
    {
        // A retained command would be obeyed anew at every connect.
        if (message.Retain || !topics.TryReadCommand(message.Topic, out string deviceId, out string name))
            return;
        var request = new CommandRequest(
            deviceId,
            name,
            message.Payload.ToArray(),
            Topics.IsPublishable(message.ResponseTopic) ? message.ResponseTopic : null,
            message.CorrelationData);
        if (Encoding.UTF8.GetByteCount(name) > NameBytesMax)
            commands.Answer(new CommandAnswer(request, 0, [], $"the name is over {NameBytesMax} bytes"));
        else
            commands.Post(request);
    }
}
