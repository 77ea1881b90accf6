using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// The records of one priority: a chain of chunks in order of arrival, some in memory and some on disk, and how far
/// they were taken and spilled. Not safe for several threads: the buffer locks.
/// </summary>
internal sealed class Lane(int priority)
{
    public int Priority => priority;

    public RecordChunk? First { get; private set; }

    public RecordChunk? Last { get; private set; }

    /// <summary>From where the forwarder takes; everything before it is taken or settled.</summary>
    public LaneCursor Take { get; } = new();

    /// <summary>From where records are spilled; everything before it was, or is settled.</summary>
    public LaneCursor Spill { get; } = new();

    /// <summary>From where live records are taken while they go first.</summary>
    public LaneCursor Live { get; } = new();

    /// <summary>Whether live records go first: what is before <see cref="LiveFrom"/> is the backlog.</summary>
    public bool IsLiveFirst { get; set; }

    /// <summary>The first chunk of live records; null while there is none.</summary>
    public RecordChunk? LiveFrom { get; set; }

    /// <summary>Records not settled, in memory and on disk.</summary>
    public long Records { get; set; }

    /// <summary>Of these, on disk; in memory too or not.</summary>
    public long Synced { get; set; }

    /// <summary>Of these, on disk alone.</summary>
    public long OnDisk { get; set; }

    /// <summary>Of these, those of devices that the broker refuses for now; they are in no chunk.</summary>
    public AsideRecords Aside { get; set; } = new();

    /// <summary>The chunk that is being read from the journal.</summary>
    public RecordChunk? Page { get; set; }

    /// <summary>Everything up to this id of the journal is being given up; 0 for nothing.</summary>
    public long DoomedThrough { get; set; }

    /// <summary>Where its records are spilled to; null while there is no disk.</summary>
    public ISpillTarget? Target { get; set; }

    public void Append(RecordChunk chunk)
    {
        chunk.Previous = Last;
        if (Last is null)
            First = chunk;
        else
            Last.Next = chunk;
        Last = chunk;
        Take.Chunk ??= chunk;
        Spill.Chunk ??= chunk;
        if (!IsLiveFirst)
            return;
        LiveFrom ??= chunk;
        Live.Chunk ??= chunk;
    }

    /// <summary>Puts a page in front of what is left on disk; who had come there begins with the page.</summary>
    public void InsertBefore(RecordChunk chunk, RecordChunk before)
    {
        chunk.Next = before;
        chunk.Previous = before.Previous;
        if (before.Previous is null)
            First = chunk;
        else
            before.Previous.Next = chunk;
        before.Previous = chunk;
        if (Take.Chunk == before)
            Take.MoveTo(chunk);
    }

    public void Remove(RecordChunk chunk)
    {
        MoveCursors(chunk, chunk.Next);

        if (LiveFrom == chunk)
            LiveFrom = chunk.Next;
        if (chunk.Previous is null)
            First = chunk.Next;
        else
            chunk.Previous.Next = chunk.Next;
        if (chunk.Next is null)
        {
            Last = chunk.Previous;
            // Who was at the end waits for a new chunk: nothing more may come into an older one.
            if (Last is not null)
                Last.IsClosed = true;
        }
        else
        {
            chunk.Next.Previous = chunk.Previous;
        }
    }

    /// <summary>Puts a chunk in front of all others, to be taken from first.</summary>
    public void Prepend(RecordChunk chunk)
    {
        if (First is { } first)
            InsertBefore(chunk, first);
        else
            Append(chunk);
        Take.MoveTo(First);
    }

    /// <summary>Makes one of neighbours that are on disk.</summary>
    public void MergeOnDisk(RecordChunk chunk)
    {
        // The border between backlog and live records stays.
        if (chunk.Previous is { IsOnDisk: true, Only: null } previous && chunk != LiveFrom)
            MergeInto(previous, chunk);
        else
            previous = chunk;
        if (previous.Next is { IsOnDisk: true, Only: null } next && next != LiveFrom)
            MergeInto(previous, next);
    }

    /// <summary>The first chunk that the forwarder will come to and that is not in memory.</summary>
    public RecordChunk? NextOnDisk(out int chunksBefore)
    {
        chunksBefore = 0;
        for (RecordChunk? chunk = Take.Chunk; chunk is not null; chunk = chunk.Next)
        {
            if (chunk.IsOnDisk)
                return chunk;
            chunksBefore++;
        }

        return null;
    }

    private void MergeInto(RecordChunk into, RecordChunk chunk)
    {
        into.Ids = new IdRange(Math.Min(into.Ids.First, chunk.Ids.First), Math.Max(into.Ids.Last, chunk.Ids.Last));
        into.RecordsOnDisk += chunk.RecordsOnDisk;
        MoveCursors(chunk, into);
        Remove(chunk);
    }

    private void MoveCursors(RecordChunk from, RecordChunk? to)
    {
        if (Take.Chunk == from)
            Take.MoveTo(to);
        if (Spill.Chunk == from)
            Spill.MoveTo(to);
        if (Live.Chunk == from)
            Live.MoveTo(to);
    }
}

/// <summary>A place in a lane.</summary>
internal sealed class LaneCursor
{
    public RecordChunk? Chunk { get; set; }

    public int Offset { get; set; }

    public void MoveTo(RecordChunk? chunk)
    {
        Chunk = chunk;
        Offset = 0;
    }
}

/// <summary>Where a lane's records are spilled to.</summary>
internal interface ISpillTarget
{
    /// <summary>Appends a record, under the buffer's lock: into memory, no disk is touched.</summary>
    AppendResult TryAppend(in BufferedRecord record, out long id);

    /// <summary>A record that was appended is settled; from any thread.</summary>
    void Settled(long id);
}
