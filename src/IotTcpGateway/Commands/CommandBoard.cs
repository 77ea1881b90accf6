using System.Collections.Concurrent;
using System.Text;
using System.Threading.Channels;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Commands;

/// <summary>A command from the broker, and where its answer goes.</summary>
/// <param name="DeviceId">For whom.</param>
/// <param name="Name">Its name, the topic's last level(s).</param>
/// <param name="Payload">Opaque bytes.</param>
/// <param name="ResponseTopic">MQTT 5 response topic; null for the device's result topic.</param>
/// <param name="CorrelationData">MQTT 5 correlation data; null for none.</param>
internal sealed record CommandRequest(
    string DeviceId, string Name, byte[] Payload, string? ResponseTopic, byte[]? CorrelationData);

/// <summary>What came of a command.</summary>
/// <param name="Request">The command.</param>
/// <param name="Status">The device's status byte.</param>
/// <param name="Payload">The device's payload.</param>
/// <param name="Error">Why it was refused; null if the device answered.</param>
internal sealed record CommandAnswer(CommandRequest Request, byte Status, byte[] Payload, string? Error);

/// <summary>Answers the commands of one device: its session, or a local output.</summary>
internal interface ICommandReceiver
{
    /// <summary>
    /// Takes a command, at most once; the answer goes to <see cref="CommandBoard.Answer"/>. Must return at once.
    /// Null if it was taken, else why not.
    /// </summary>
    string? Receive(CommandRequest request);
}

/// <summary>Where a command from the broker meets the session or output that answers it.</summary>
internal sealed class CommandBoard
{
    // A RESULT carries at most 16 KiB, and a request came in a packet of at most mqtt.maxInboundPacket (64 KiB unless
    // configured): what waits here takes at most 20 MiB then, and in practice next to nothing.
    private const int AnswersMax = 256;
    private const int NameBytesMax = byte.MaxValue;

    private readonly ConcurrentDictionary<string, ICommandReceiver> receivers = new();
    private readonly Channel<CommandAnswer> answers;
    private long answersDropped;

    public CommandBoard() => answers = Channel.CreateBounded<CommandAnswer>(
        new BoundedChannelOptions(AnswersMax) { FullMode = BoundedChannelFullMode.DropOldest },
        _ => Interlocked.Increment(ref answersDropped));

    /// <summary>An answer may be there to publish; must return at once.</summary>
    public event Action? Answered;

    /// <summary>Answers that waited for the broker until newer ones took their place.</summary>
    public long AnswersDropped => Volatile.Read(ref answersDropped);

    /// <summary>Answers to publish; at most 256 wait, the oldest goes first.</summary>
    public ChannelReader<CommandAnswer> Answers => answers.Reader;

    /// <summary>From now on this receiver answers the device's commands.</summary>
    public void Attach(string deviceId, ICommandReceiver receiver) => receivers[deviceId] = receiver;

    /// <summary>Ends that, unless a newer receiver has taken its place.</summary>
    public void Detach(string deviceId, ICommandReceiver receiver) =>
        receivers.TryRemove(new KeyValuePair<string, ICommandReceiver>(deviceId, receiver));

    /// <summary>Hands a command to its device; a refusal is answered at once.</summary>
    public void Post(CommandRequest request)
    {
        string? refusal = RefusalOf(request);
        if (refusal is null)
        {
            refusal = receivers.TryGetValue(request.DeviceId, out ICommandReceiver? receiver)
                ? receiver.Receive(request)
                : "the device is not connected";
        }

        if (refusal is not null)
            Answer(new CommandAnswer(request, 0, [], refusal));
    }

    /// <summary>Publishes what came of a command.</summary>
    public void Answer(CommandAnswer answer)
    {
        answers.Writer.TryWrite(answer);
        Answered?.Invoke();
    }

    private static string? RefusalOf(CommandRequest request)
    {
        int nameBytes = Encoding.UTF8.GetByteCount(request.Name);
        if (nameBytes is 0 or > NameBytesMax)
            return $"the name is not of 1 to {NameBytesMax} bytes";
        return nameBytes + request.Payload.Length > Command.NameAndPayloadBytesMax
            ? $"name and payload are over {Command.NameAndPayloadBytesMax} bytes"
            : null;
    }
}
