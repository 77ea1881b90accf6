using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>How much the ledger may take.</summary>
internal sealed class LedgerLimits
{
    /// <summary>Bytes of memory for entries that the broker has not confirmed: about a thousand of them.</summary>
    public int MemoryBytes { get; init; } = 256 * 1024;

    /// <summary>The sizes of its journal.</summary>
    public JournalOptions Journal { get; init; } = new()
    {
        BytesMax = 1024 * 1024,
        SegmentBytes = 64 * 1024,
        PreallocateBytes = 0,
        CommitBytesMax = 32 * 1024,
        PayloadBytesMax = LedgerRecord.BytesMax,
        BrokenBytesMax = 64 * 1024,
    };
}
