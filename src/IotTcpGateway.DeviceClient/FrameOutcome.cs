using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>How the custody of a DATA frame ended.</summary>
public enum FrameFate
{
    /// <summary>The gateway says that it is safe.</summary>
    Acknowledged,

    /// <summary>
    /// It will never be forwarded: a NACK, or a body larger than the gateway accepts, which was not sent.
    /// </summary>
    Refused,

    /// <summary>The device gave it up for a newer one. It may have been sent, and may arrive all the same.</summary>
    Dropped,
}

/// <summary>
/// What became of one DATA frame. Every frame handed over has one outcome, unless the client stops first.
/// </summary>
/// <param name="Number">The number that handing it over gave.</param>
/// <param name="BootId">The boot id under which it was last numbered.</param>
/// <param name="Sequence">Its sequence in that boot; 0 for a frame that was to go into the next boot.</param>
/// <param name="Fate">Acknowledged, refused or dropped.</param>
/// <param name="Latency">Time since it was handed over.</param>
/// <param name="Reason">Why it was refused; null if it was not.</param>
/// <param name="Text">The gateway's text for people; empty if it was not refused.</param>
public readonly record struct FrameOutcome(
    ulong Number, uint BootId, uint Sequence, FrameFate Fate, TimeSpan Latency, NackReason? Reason, string Text);
