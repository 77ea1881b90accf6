namespace IotTcpGateway.Buffer;

/// <summary>Whose frames were given up, and why: only what has this in common can be one entry.</summary>
internal readonly record struct LedgerKey(string DeviceId, uint BootId, DropReason Reason);

/// <summary>An entry that the broker has not confirmed. Used under the ledger's lock.</summary>
internal sealed class LedgerEntry(LedgerKey key, long unixMilliseconds, long begunAt)
{
    /// <summary>What it takes beside its device id: itself, its report, its places in list and index.</summary>
    private const int OverheadBytes = 224;

    public LedgerEntry(GapReport found)
        : this(new LedgerKey(found.DeviceId, found.BootId, found.Reason), found.UnixMilliseconds, begunAt: 0)
    {
        (Number, From, To, Count) = (found.Number, found.From, found.To, found.Count);
    }

    public LedgerKey Key => key;

    public long Number { get; set; }

    public uint From { get; private set; } = uint.MaxValue;

    public uint To { get; private set; }

    public long Count { get; private set; }

    /// <summary>When it was begun, on the monotonic clock.</summary>
    public long BegunAt => begunAt;

    /// <summary>Whether any sequence may still join it; else only the next one.</summary>
    public bool IsOpen { get; set; }

    /// <summary>Whether the disk does not have it as it is now.</summary>
    public bool IsDirty { get; set; }

    /// <summary>Whether it is settled, merged into another one or forgotten.</summary>
    public bool IsGone { get; set; }

    /// <summary>Its newest synced record in the journal; 0 for none.</summary>
    public long JournalId { get; set; }

    /// <summary>What was handed out to be published; null while it waits.</summary>
    public GapReport? Taken { get; set; }

    public int Bytes => OverheadBytes + (key.DeviceId.Length * sizeof(char));

    public bool IsNext(uint sequence) => To < uint.MaxValue && sequence == To + 1;

    public void Join(uint from, uint to, long count)
    {
        From = Math.Min(From, from);
        To = Math.Max(To, to);
        Count += count;
        IsDirty = true;
    }

    public GapReport AsReport() =>
        new(Number, key.DeviceId, key.BootId, From, To, Count, key.Reason, unixMilliseconds);
}
