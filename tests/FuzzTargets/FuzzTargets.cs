using IotTcpGateway.Fuzz.Protocol;

namespace IotTcpGateway.Fuzz;

/// <summary>Takes any input; throws if an invariant is broken.</summary>
internal delegate void FuzzTarget(ReadOnlySpan<byte> input);

/// <summary>The targets by name.</summary>
internal static class FuzzTargets
{
    public static IReadOnlyDictionary<string, FuzzTarget> All { get; } = new Dictionary<string, FuzzTarget>
    {
        ["frame-reader"] = FrameReaderTarget.Run,
        ["device-messages"] = MessagesTarget.RunFromDevice,
        ["gateway-messages"] = MessagesTarget.RunFromGateway,
    };
}
