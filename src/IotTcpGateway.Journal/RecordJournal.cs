namespace IotTcpGateway.Journal;

/// <summary>
/// A segmented log of opaque records. One thread writes (append, commit, cursor, trim, give up); readers run beside it
/// on a thread each; <see cref="Confirm(long)"/> and the properties may be used from anywhere.
/// </summary>
public sealed partial class RecordJournal : IDisposable
{
    private readonly IJournalDisk disk;
    private readonly JournalOptions options;
    private readonly PendingRecords pending;
    private readonly ConfirmedIds confirmed = new();
    private readonly CursorFile cursorFile;
    private readonly ReserveFile reserve;
    private readonly Lock segmentsSync = new();
    private readonly List<Segment> segments = [];
    private SegmentWriter? active;
    private ulong nextSegmentNumber = 1;
    private bool isFirstSegmentOfRun = true;
    private bool isTakenBack;
    private bool isSavingRoom;
    private long nextId = 1;
    private long lastIdToFollow;
    private long syncedThrough;
    private long givenUpThrough;
    private long sealedBytes;
    private int state;

    private RecordJournal(IJournalDisk disk, JournalOptions options)
    {
        this.disk = disk;
        this.options = options;
        pending = new PendingRecords(options.CommitBytesMax);
        cursorFile = new CursorFile(disk, Counters);
        reserve = new ReserveFile(disk, Counters, options.ReserveBytes);
    }

    /// <summary>What has been done since the journal was opened.</summary>
    public JournalCounters Counters { get; } = new();

    /// <summary>What the journal can do at present.</summary>
    public JournalState State => (JournalState)Volatile.Read(ref state);

    /// <summary>The last thing that the disk refused; none when the state is Healthy. For the writing thread.</summary>
    public DiskError LastError { get; private set; }

    /// <summary>The highest id that would survive a power cut.</summary>
    public long SyncedThrough => Volatile.Read(ref syncedThrough);

    /// <summary>Every record up to this id is confirmed or given up.</summary>
    public long ConfirmedThrough => confirmed.Through;

    /// <summary>The highest id that was given. For the writing thread.</summary>
    public long LastId => nextId - 1;

    /// <summary>Bytes of memory that wait for the next commit. For the writing thread.</summary>
    public int PendingBytes => pending.Bytes;

    /// <summary>Bytes of the segments' files, preallocated ones included. For the writing thread.</summary>
    public long DiskBytes => sealedBytes + (active?.Segment.FileBytes ?? 0);

    /// <summary>
    /// Whether the next commit goes on in the newest segment, if there is room; otherwise it begins a new one. For the
    /// writing thread.
    /// </summary>
    public bool IsSegmentOpen => active is not null;

    /// <summary>
    /// Bytes of the segments' files and of what waits for its commit, zeros written ahead not counted. For the writing
    /// thread.
    /// </summary>
    public long UsedBytes => sealedBytes + (active?.Position ?? 0) + pending.Bytes;

    internal long GivenUpThrough => Volatile.Read(ref givenUpThrough);

    internal IJournalDisk Disk => disk;

    /// <summary>
    /// Opens the journal in a directory, whatever state it is in. Only a directory that cannot be listed is an error:
    /// without it ids could be given twice.
    /// </summary>
    /// <param name="disk">The directory.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="journal">The journal, or null when the directory cannot be listed.</param>
    /// <param name="report">What was found.</param>
    /// <param name="visitor">Is shown every whole record, from the oldest.</param>
    public static DiskError Open(
        IJournalDisk disk,
        JournalOptions options,
        out RecordJournal? journal,
        out RecoveryReport report,
        RecordVisitor? visitor = null)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        var opened = new RecordJournal(disk, options);
        var recovery = new Recovery(disk, options, opened.Counters, opened.cursorFile, opened.pending, visitor);
        DiskError error = recovery.Run();
        report = recovery.Report;
        journal = error.IsNone ? opened : null;
        if (error.IsNone)
            opened.Start(recovery);
        else
            opened.Dispose();
        return error;
    }

    /// <summary>
    /// Takes a record into memory, under an id that no other record of this journal had or will have.
    /// </summary>
    /// <param name="payload">What to keep.</param>
    /// <param name="id">The id, when it is appended.</param>
    /// <param name="mayUseReserve">
    /// Whether it is taken on a full disk too, into what is left of the reserve: for what is written to make room.
    /// </param>
    public AppendResult TryAppend(ReadOnlySpan<byte> payload, out long id, bool mayUseReserve = false)
    {
        id = 0;
        if (payload.Length > options.PayloadBytesMax)
            return AppendResult.TooLarge;
        if (State == JournalState.Failed)
            return AppendResult.Failed;
        if (State == JournalState.Full && !mayUseReserve)
            return AppendResult.Full;
        if (isTakenBack)
            return AppendResult.CommitFirst;
        if (BytesNeededWith(RecordHeader.TotalBytesOf(payload.Length)) > options.BytesMax)
            return AppendResult.Full;
        if (!pending.TryAdd(payload, nextId))
            return AppendResult.CommitFirst;
        id = nextId++;
        return AppendResult.Appended;
    }

    /// <summary>
    /// Writes and syncs what was appended. A commit of nothing in another state than Healthy asks whether the disk is
    /// back.
    /// </summary>
    public CommitResult Commit()
    {
        if (pending.IsEmpty)
        {
            if (State != JournalState.Healthy)
                Recuperate();
            return Result;
        }

        DiskError error = WritePending();
        if (error.IsNoSpace && reserve.Release())
        {
            isSavingRoom = true;
            error = WritePending();
        }

        if (error.IsNone && isTakenBack)
        {
            // What follows has ids further on, and only a segment's header can say that none is missing between.
            isTakenBack = false;
            Seal();
        }

        if (!error.IsNone)
            Become(JournalState.Failed, error);
        else if (isSavingRoom || State != JournalState.Healthy)
            Recuperate();
        return Result;
    }

    /// <summary>Reads synced records in the order of their ids, on any one thread. Dispose of it when done.</summary>
    /// <param name="fromId">The first id of interest.</param>
    public JournalReader CreateReader(long fromId) => new(this, fromId);

    /// <summary>Closes the files. What was not committed is gone.</summary>
    public void Dispose()
    {
        active?.Dispose();
        active = null;
        cursorFile.Dispose();
    }

    private CommitResult Result => new(State, SyncedThrough, LastError);

    private void Start(Recovery recovery)
    {
        segments.AddRange(recovery.Segments);
        sealedBytes = segments.Sum(s => s.FileBytes);
        nextSegmentNumber = recovery.NextSegmentNumber;
        nextId = recovery.NextId;
        syncedThrough = recovery.SyncedThrough;
        isTakenBack = !pending.IsEmpty;
        lastIdToFollow = isTakenBack ? pending.FirstId - 1 : syncedThrough;
        confirmed.Start(recovery.ConfirmedThrough);
        // Ids that were never given to a record that counts hold up nobody's cursor.
        foreach (Segment segment in segments)
            confirmed.Confirm(new IdRange(segment.FirstId - segment.SkippedIds, segment.FirstId - 1));
        confirmed.Confirm(new IdRange(Math.Max(recovery.SyncedThrough, pending.LastId) + 1, recovery.NextId - 1));
        // Without one a later loss of the cursor could not be told from a journal that never had one.
        if (recovery.Report.Cursor is CursorState.New or CursorState.Lost)
            recovery.Report.NoteWrite(CommitCursor());
        if (options.IsTrimmedAtStart)
            recovery.Report.NoteWrite(Trim());
        Recuperate();
        if (isTakenBack)
            recovery.Report.IsFromDisk = Commit().State != JournalState.Failed;
        recovery.Report.NoteWrite(LastError);
    }

    // Takes the reserve again; the journal is healthy once it has it.
    private void Recuperate()
    {
        DiskError error = reserve.Hold();
        isSavingRoom = !error.IsNone;
        if (error.IsNone)
            Become(JournalState.Healthy, error);
        else
            Become(error.IsNoSpace ? JournalState.Full : JournalState.Failed, error);
    }

    private void Become(JournalState newState, DiskError error)
    {
        LastError = error;
        Volatile.Write(ref state, (int)newState);
    }

    private long BytesNeededWith(int recordBytes)
    {
        long inActive = active?.Position ?? SegmentHeader.Bytes;
        long records = pending.Bytes + recordBytes;
        long headers = SegmentHeader.Bytes * ((inActive + records) / options.SegmentBytes);
        return sealedBytes + inActive + records + headers;
    }

    // One failure is answered by a new segment; a second one is the caller's.
    private DiskError WritePending()
    {
        if (isTakenBack)
        {
            // With a newer segment nobody would look at the torn tail of the older one any more and skip its ids.
            DiskError promised = CommitCursor();
            if (!promised.IsNone)
                return promised;
        }

        bool hasFailed = false;
        while (!pending.IsEmpty)
        {
            DiskError error = active is null ? BeginSegment() : WriteRun(active);
            if (error.IsNone)
                continue;
            if (hasFailed)
                return error;
            hasFailed = true;
        }

        return DiskError.None;
    }

    private DiskError WriteRun(SegmentWriter writer)
    {
        long room = options.SegmentBytes - writer.Position;
        ReadOnlySpan<byte> records = pending.Address(writer.Nonce, writer.Position, room, out PendingRun run);
        if (run.Bytes == 0)
        {
            // Everything in it is synced already: nothing is ever written to two segments between two syncs.
            Seal();
            return DiskError.None;
        }

        DiskError error = writer.Append(records, Allocation(writer.Position + run.Bytes), out bool isShortOfRoom);
        if (error.IsNone)
            error = writer.Sync();
        if (!error.IsNone)
        {
            // What the kernel says of this file from now on proves nothing.
            Counters.CountSetAside();
            SetAside();
            return error;
        }

        isSavingRoom |= isShortOfRoom;
        Acknowledge(writer, run);
        return DiskError.None;
    }

    // A segment comes into being with its first commit in it: what it repeats of an older one after a failed sync is
    // there as a whole, or the older one still counts.
    private DiskError BeginSegment()
    {
        var header = new SegmentHeader(
            nextSegmentNumber++,
            options.NewNonce(),
            pending.FirstId,
            pending.FirstId - 1 - lastIdToFollow,
            isFirstSegmentOfRun);
        long room = isTakenBack ? long.MaxValue : options.SegmentBytes - SegmentHeader.Bytes;
        ReadOnlySpan<byte> records = pending.Address(header.Nonce, SegmentHeader.Bytes, room, out PendingRun run);
        long allocate = Allocation(SegmentHeader.Bytes + run.Bytes);
        DiskError error = SegmentWriter.Begin(disk, Counters, header, records, allocate, out SegmentWriter? writer);
        isSavingRoom |= error.IsNoSpace;
        if (!error.IsNone)
            return error;
        active = writer;
        isFirstSegmentOfRun = false;
        Acknowledge(writer!, run);
        lock (segmentsSync)
            segments.Add(writer!.Segment);
        return DiskError.None;
    }

    private void Acknowledge(SegmentWriter writer, in PendingRun run)
    {
        lastIdToFollow = run.LastId;
        Volatile.Write(ref syncedThrough, run.LastId);
        writer.Segment.Publish(run.LastId, writer.Position);
        Counters.CountSynced(run.Records, run.PayloadBytes);
        pending.Remove(run);
    }

    private long Allocation(long needed)
    {
        if (isSavingRoom)
            return needed;
        long wanted = Math.Min(needed + options.PreallocateBytes, options.SegmentBytes);
        return Math.Max(needed, Math.Min(wanted, options.BytesMax - sealedBytes));
    }

    // The unused zeros are given back. Should that not last, they are found as zeros.
    private void Seal()
    {
        active?.CutUnused();
        SetAside();
    }

    private void SetAside()
    {
        if (active is null)
            return;
        sealedBytes += active.Segment.FileBytes;
        active.Segment.IsSealed = true;
        active.Dispose();
        active = null;
    }
}
