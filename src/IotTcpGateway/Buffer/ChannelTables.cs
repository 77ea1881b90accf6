namespace IotTcpGateway.Buffer;

/// <summary>
/// The channel tables in use, counted in bytes: each is held by the connection that described it and by every record
/// that arrived under it. Not safe for several threads: its owner locks.
/// </summary>
internal sealed class ChannelTables
{
    private readonly SlotTable<Entry> slots = new();
    private readonly Dictionary<ChannelTable, Entry> byTable = new(ReferenceEqualityComparer.Instance);

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
            Bytes += table.ApproximateBytes;
        }

        entry.Holders++;
        return entry.Slot;
    }

    public ChannelTable At(int slot) => slots[slot].Table;

    public void Release(int slot)
    {
        Entry entry = slots[slot];
        if (--entry.Holders > 0)
            return;
        slots.Remove(slot);
        byTable.Remove(entry.Table);
        Bytes -= entry.Table.ApproximateBytes;
    }

    private sealed class Entry(ChannelTable table)
    {
        public ChannelTable Table { get; } = table;

        public int Slot { get; set; }

        public int Holders { get; set; }
    }
}
