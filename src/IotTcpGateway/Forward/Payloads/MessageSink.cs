using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward.Payloads;

/// <summary>Takes the messages of one record, in order.</summary>
internal interface IMessageSink
{
    /// <param name="channel">Name of the channel that the message is of; null if it is of all.</param>
    /// <param name="payload">Valid during the call.</param>
    void Message(string? channel, ReadOnlySpan<byte> payload);
}

/// <summary>Makes messages of records. One thread at a time.</summary>
internal interface IPayloadEncoder
{
    /// <summary>Hands every message of the record to the sink; returns how many.</summary>
    int Encode(in BufferedRecord record, IMessageSink sink);
}
