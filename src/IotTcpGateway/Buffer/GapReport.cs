namespace IotTcpGateway.Buffer;

/// <summary>An entry of the ledger as it is told: what a consumer will never get.</summary>
/// <param name="Number">Grows from entry to entry, over restarts too, though not by one.</param>
/// <param name="DeviceId">Whose frames.</param>
/// <param name="BootId">Of which of its boots.</param>
/// <param name="From">The first sequence given up.</param>
/// <param name="To">The last one.</param>
/// <param name="Count">How many of these were given up; the others were not.</param>
/// <param name="Reason">Why.</param>
/// <param name="UnixMilliseconds">When the first of them was given up; 0 if the clock was not synchronised.</param>
internal sealed record GapReport(
    long Number,
    string DeviceId,
    uint BootId,
    uint From,
    uint To,
    long Count,
    DropReason Reason,
    long UnixMilliseconds);
