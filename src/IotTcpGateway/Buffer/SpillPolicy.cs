namespace IotTcpGateway.Buffer;

/// <summary>When records go to disk.</summary>
internal static class SpillPolicy
{
    /// <summary>
    /// Begins when a record waits too long for the broker, memory is short, or everything stops; ends when the broker
    /// keeps up again, that is, when nothing unconfirmed is old any more.
    /// </summary>
    public static bool IsSpilling(bool wasSpilling, in SpillNeed need, TimeSpan spillAfter, bool isStopping) =>
        isStopping
        || need.IsMemoryShort
        || need.UnsafeSeconds >= spillAfter.TotalSeconds
        || (wasSpilling && need.UnsettledSeconds >= spillAfter.TotalSeconds);
}
