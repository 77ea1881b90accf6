using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Protocol;

/// <summary>Bodies without a frame around them: the first byte chooses the type, the rest is the body.</summary>
internal static class MessagesTarget
{
    private static readonly FrameType[] FromDevice =
        [FrameType.Hello, FrameType.Describe, FrameType.Data, FrameType.Result];

    private static readonly FrameType[] FromGateway =
        [FrameType.Welcome, FrameType.Refuse, FrameType.Nack, FrameType.Command];

    public static void RunFromDevice(ReadOnlySpan<byte> input) => Run(FromDevice, input);

    public static void RunFromGateway(ReadOnlySpan<byte> input) => Run(FromGateway, input);

    private static void Run(FrameType[] types, ReadOnlySpan<byte> input)
    {
        if (!input.IsEmpty && input.Length <= ProtocolConstants.BodyBytesMax)
            Messages.Check(types[input[0] % types.Length], input[1..]);
    }
}
