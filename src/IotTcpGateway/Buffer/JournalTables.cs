namespace IotTcpGateway.Buffer;

/// <summary>
/// The channel tables of a journal by their numbers. An entry with a table's channels stands in every segment whose
/// frames use it, so that segments can go one by one. Read by the pager, else for the spilling thread.
/// </summary>
internal sealed class JournalTables(long bytesMax)
{
    private readonly Lock gate = new();
    private readonly SpilledTables tables = new(bytesMax);
    private readonly Dictionary<ChannelTable, uint> numbers = new(ChannelTable.ByContent);
    private readonly HashSet<uint> written = [];
    private readonly HashSet<uint> usedInCommit = [];
    private readonly HashSet<uint> due = [];
    private uint highest;

    /// <summary>Tables that are to be written again before a segment may go.</summary>
    public IReadOnlyCollection<uint> Due => due;

    /// <summary>The number of a table, a new one if need be; 0 for the empty one.</summary>
    public uint NumberOf(ChannelTable table)
    {
        if (table.Channels.Count == 0)
            return 0;
        if (numbers.TryGetValue(table, out uint number))
            return number;
        number = ++highest;
        lock (gate)
            tables.Add(number, table);
        Remember(number);
        return number;
    }

    /// <summary>The table of a number; empty if its entry was lost.</summary>
    public ChannelTable Find(uint number)
    {
        lock (gate)
            return tables.Find(number);
    }

    /// <summary>An entry that was found on disk.</summary>
    public void Learn(uint number, List<Channel> channels)
    {
        highest = Math.Max(highest, number);
        numbers.Remove(Find(number));
        lock (gate)
            tables.Add(number, channels);
        Remember(number);
    }

    /// <summary>
    /// A frame that was found on disk uses it: no new table gets the number, and it is to be written again.
    /// </summary>
    public void LearnUse(uint number)
    {
        highest = Math.Max(highest, number);
        if (number > 0)
            due.Add(number);
    }

    /// <summary>Whether an entry of the table is to be written before a frame that uses it.</summary>
    public bool IsToBeWritten(uint number) => number != 0 && !written.Contains(number);

    public void Written(uint number)
    {
        written.Add(number);
        usedInCommit.Add(number);
        due.Remove(number);
    }

    public void Used(uint number)
    {
        if (number != 0)
            usedInCommit.Add(number);
    }

    /// <summary>What comes next is in another segment.</summary>
    public void SegmentEnded() => written.Clear();

    /// <summary>
    /// A commit is done, wholly or in part; if a segment was begun in it, some of its frames may have no entry there.
    /// </summary>
    public void Committed(bool hasBegunSegment, bool isWhole)
    {
        if (hasBegunSegment)
        {
            due.UnionWith(usedInCommit);
            written.Clear();
        }

        if (isWhole)
            usedInCommit.Clear();
    }

    /// <summary>No frame is on disk any more.</summary>
    public void Clear()
    {
        lock (gate)
            tables.Clear();
        numbers.Clear();
        written.Clear();
        usedInCommit.Clear();
        due.Clear();
    }

    // Beyond the bound the channels of such frames are called by their numbers, which is better than no start.
    private void Remember(uint number)
    {
        ChannelTable table = Find(number);
        if (table.Channels.Count > 0)
            numbers[table] = number;
    }
}
