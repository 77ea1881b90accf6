using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// The channel tables of a journal. They may lie behind the first frames that use them, so that all are gathered before
/// a frame is decoded.
/// </summary>
internal sealed class SpilledTables
{
    /// <summary>
    /// Bytes that they may take; what would not fit is left out, and its frames' channels have no names.
    /// </summary>
    public const long BytesMax = 64L * 1024 * 1024;

    private readonly Dictionary<uint, ChannelTable> byNumber = [];
    private readonly long bytesMax;
    private long bytes;

    public SpilledTables(long bytesMax = BytesMax) => this.bytesMax = bytesMax;

    /// <summary>Tables that did not fit.</summary>
    public long LeftOut { get; private set; }

    /// <summary>Takes the table if the entry is one.</summary>
    public void Visit(in JournalRecord record)
    {
        if (SpilledFrame.KindOf(record.Payload) == SpilledKind.Table
            && SpilledTable.TryRead(record.Payload, out uint number, out List<Channel> channels))
        {
            Add(number, channels);
        }
    }

    /// <summary>The table of a frame; an empty one when it has none, or it is not to be found.</summary>
    public ChannelTable Find(uint number) => byNumber.GetValueOrDefault(number, ChannelTable.Empty);

    /// <summary>Takes channels of a table, which may be a part of them.</summary>
    public void Add(uint number, List<Channel> channels)
    {
        ChannelTable known = Find(number);
        // Every segment has it again.
        if (!byNumber.ContainsKey(number) || !channels.TrueForAll(c => c == known.Find(c.Number)))
            Add(number, known.With(channels));
    }

    /// <summary>Takes a table as it is.</summary>
    public void Add(uint number, ChannelTable table)
    {
        ChannelTable known = Find(number);
        long more = table.ApproximateBytes - (byNumber.ContainsKey(number) ? known.ApproximateBytes : 0);
        if (bytes + more > bytesMax)
        {
            LeftOut++;
            return;
        }

        bytes += more;
        byNumber[number] = table;
    }

    /// <summary>Nobody needs them any more.</summary>
    public void Clear()
    {
        byNumber.Clear();
        bytes = 0;
    }
}
