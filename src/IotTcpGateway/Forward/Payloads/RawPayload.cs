using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward.Payloads;

/// <summary>The DATA body as the device sent it; boot and sequence go as user properties.</summary>
internal sealed class RawPayload : IPayloadEncoder
{
    /// <inheritdoc/>
    public int Encode(in BufferedRecord record, IMessageSink sink)
    {
        sink.Message(null, record.Body);
        return 1;
    }
}
