namespace IotTcpGateway.Buffer;

/// <summary>
/// The channel tables in use, counted in bytes: each is held by the connections that described it and by every record
/// that arrived under it. Devices of one kind describe the same, and share one. Not safe for several threads: its owner
/// locks.
/// </summary>
internal sealed class ChannelTables
{
    private readonly SlotTable<Entry> slots = new();
    private readonly Dictionary<ChannelTable, Entry> byTable = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<ChannelTable> byContent = new(ChannelTable.ByContent);

    // Held for ever: a device that describes nothing would else bring it in and out with every record.
    public ChannelTables() => Hold(ChannelTable.Empty);

    public long Bytes { get; private set; }

    public int Hold(ChannelTable table)
    {
        if (!byTable.TryGetValue(table, out Entry? entry))
        {
            entry = new Entry(table);
            entry.Slot = slots.Add(entry);
            byTable.Add(table, entry);
            byContent.Add(table);
            Bytes += table.ApproximateBytes;
        }

        entry.Holders++;
        return entry.Slot;
    }

    /// <summary>The table in use that says the same; null if there is none.</summary>
    public ChannelTable? FindSame(ChannelTable table) => byContent.TryGetValue(table, out ChannelTable? same) ? same : null;

    public ChannelTable At(int slot) => slots[slot].Table;

    public void Release(int slot)
    {
        Entry entry = slots[slot];
        if (--entry.Holders > 0)
            return;
        slots.Remove(slot);
        byTable.Remove(entry.Table);
        if (byContent.TryGetValue(entry.Table, out ChannelTable? same) && ReferenceEquals(same, entry.Table))
            byContent.Remove(entry.Table);
        Bytes -= entry.Table.ApproximateBytes;
    }

    private sealed class Entry(ChannelTable table)
    {
        public ChannelTable Table { get; } = table;

        public int Slot { get; set; }

        public int Holders { get; set; }
    }
}
