using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>Bytes from the gateway that are not yet taken: four of its largest frames.</summary>
internal sealed class ReceiveBuffer
{
    private readonly byte[] bytes =
        new byte[4 * ProtocolConstants.FrameBytes(ProtocolConstants.ControlBodyBytesMax, tagged: true)];

    private int start;
    private int end;

    /// <summary>Whether a frame was begun and has not ended.</summary>
    public bool IsInsideFrame => end > start;

    /// <summary>Takes the next frame, which lies here until the next receive.</summary>
    public FrameReadResult Read(bool tagAllowed, out Frame frame)
    {
        const int BodyBytesMax = ProtocolConstants.ControlBodyBytesMax;
        FrameReadResult result = FrameReader.Read(
            bytes.AsSpan(start, end - start), BodyBytesMax, BodyBytesMax, tagAllowed, out frame, out _);
        if (result == FrameReadResult.Frame)
            start += frame.Bytes.Length;
        return result;
    }

    /// <summary>Room for a receive, never empty while no whole frame lies here.</summary>
    public Memory<byte> RoomToReceive()
    {
        bytes.AsSpan(start, end - start).CopyTo(bytes);
        (start, end) = (0, end - start);
        return bytes.AsMemory(end);
    }

    public void Received(int count) => end += count;
}
