namespace IotTcpGateway.Forward;

/// <summary>The broker announced a packet that is larger than the gateway takes.</summary>
internal sealed class InboundPacketTooLargeException(long packetBytesMax)
    : IOException($"the broker announced a packet of over {packetBytesMax} bytes");

/// <summary>Follows the packets' lengths in what the broker sends: MQTTnet allocates whatever is announced.</summary>
internal sealed class InboundGuard(long packetBytesMax)
{
    private const int LengthBitsMax = 28;

    private bool isInLength;
    private long length;
    private int shift;
    private long skip;

    public void Inspect(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            if (skip > 0)
            {
                int passed = (int)Math.Min(skip, bytes.Length);
                skip -= passed;
                bytes = bytes[passed..];
                continue;
            }

            Follow(bytes[0]);
            bytes = bytes[1..];
        }
    }

    private void Follow(byte next)
    {
        if (!isInLength)
        {
            isInLength = true;
            length = shift = 0;
            return;
        }

        length |= (long)(next & 0x7F) << shift;
        shift += 7;
        if (length > packetBytesMax || shift > LengthBitsMax)
            throw new InboundPacketTooLargeException(packetBytesMax);
        if ((next & 0x80) != 0)
            return;
        isInLength = false;
        skip = length;
    }
}
