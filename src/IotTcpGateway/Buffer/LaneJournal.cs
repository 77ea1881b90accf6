using System.Text;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>Is told of a frame that is on disk from before the start, in order.</summary>
/// <param name="deviceId">Its device.</param>
/// <param name="bootId">Its boot.</param>
/// <param name="sequence">Its sequence; 0 if it proves nothing, because its device was never told that it is
/// safe.</param>
internal delegate void FrameVisitor(string deviceId, uint bootId, uint sequence);

/// <summary>
/// Frames in a journal, with their channel tables and marks of age. For the spilling thread, but for
/// <see cref="Settled"/> and <see cref="TableOf"/>; readers run beside it.
/// </summary>
internal sealed class LaneJournal : ISpillTarget, IDisposable
{
    /// <summary>Largest entry.</summary>
    public const int EntryBytesMax = SpilledFrame.OverheadBytesMax + Protocol.ProtocolConstants.BodyBytesMax;

    // Ages are told to within a two-hundredth of maxAge, but for the sake of the disk not finer than this.
    private const int MarksPerAge = 200;
    private static readonly TimeSpan MarkIntervalMax = TimeSpan.FromMinutes(10);

    private readonly JournalTables tables;
    private readonly AgeMarks marks = new();
    private readonly long markSeconds;
    private readonly LaneSettings settings;
    private readonly byte[] entry = new byte[EntryBytesMax];

    // At most those of one commit: their tables may have been written in it, and be missing.
    private readonly List<(long Id, uint Table)> doubtful = [];
    private readonly List<(string DeviceId, uint BootId, uint Sequence)> lastCommit = [];
    private long lastCommitId = -1;
    private RecordJournal? journal;
    private long secondsBefore;
    private long segmentsSeen;
    private long firstOnDisk;

    private LaneJournal(LaneSettings settings)
    {
        this.settings = settings;
        tables = new JournalTables(settings.TableBytesMax);
        markSeconds = (long)Math.Clamp(settings.MaxAge.TotalSeconds / MarksPerAge, 1, MarkIntervalMax.TotalSeconds);
    }

    /// <summary>The journal itself.</summary>
    public RecordJournal Journal => journal!;

    /// <summary>Ids of what was found at the start and is not settled; empty if nothing was.</summary>
    public IdRange OnDisk { get; private set; } = new(1, 0);

    /// <summary>How many of these are frames.</summary>
    public long FramesOnDisk { get; private set; }

    /// <summary>Tables that frames found at the start use and that were lost by damage.</summary>
    public int MissingTables { get; private set; }

    /// <summary>What was found at the start.</summary>
    public RecoveryReport Report { get; private set; } = null!;

    /// <summary>Opens it, whatever state it is in.</summary>
    /// <param name="disk">Its directory.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="settings">What it is told of the gateway.</param>
    /// <param name="visitor">Is told of every frame found.</param>
    /// <param name="lane">The journal, unless its directory cannot be listed.</param>
    public static DiskError Open(
        IJournalDisk disk, JournalOptions options, LaneSettings settings, FrameVisitor visitor, out LaneJournal? lane)
    {
        var opened = new LaneJournal(settings);
        DiskError error = RecordJournal.Open(
            disk,
            options,
            out RecordJournal? journal,
            out RecoveryReport report,
            (in JournalRecord record) => opened.Learn(record, visitor));
        lane = error.IsNone ? opened : null;
        if (!error.IsNone)
            return error;
        // What could not be read back from the disk may be in the page cache alone.
        opened.TellLastCommit(visitor, isProof: report.IsFromDisk);
        opened.Begin(journal!, report);
        return error;
    }

    /// <inheritdoc/>
    public AppendResult TryAppend(in BufferedRecord record, out long id) => TryAppend(record, reason: "", out id);

    /// <summary>Appends a record, and why it is in quarantine.</summary>
    public AppendResult TryAppend(in BufferedRecord record, string reason, out long id)
    {
        id = 0;
        // The segment that has the tables may go before the next one begins.
        if (!Journal.IsSegmentOpen && Journal.PendingBytes == 0)
            tables.SegmentEnded();
        uint table = tables.NumberOf(record.Channels);
        AppendResult result = WriteDueTables();
        if (result == AppendResult.Appended && tables.IsToBeWritten(table))
            result = WriteTable(table, record.Channels);
        if (result == AppendResult.Appended && IsMarkDue)
            result = WriteMark();
        if (result != AppendResult.Appended)
            return result;
        tables.Used(table);
        return Journal.TryAppend(entry.AsSpan(0, Encode(record, table, reason)), out id);
    }

    /// <summary>
    /// Time passes without frames, too: what is on disk grows older. For when there is something on disk.
    /// </summary>
    public void MarkTime(bool isAtOnce = false)
    {
        if ((IsMarkDue || (isAtOnce && Seconds > marks.LastSeconds)) && WriteMark() == AppendResult.Appended)
            Commit();
    }

    /// <inheritdoc/>
    public void Settled(long id) => Journal.Confirm(id);

    /// <summary>Makes durable what was appended.</summary>
    public CommitResult Commit()
    {
        CommitResult result = Journal.Commit();
        long begun = Journal.Counters.SegmentsBegun;
        tables.Committed(hasBegunSegment: begun != segmentsSeen, isWhole: Journal.PendingBytes == 0);
        segmentsSeen = begun;
        return result;
    }

    /// <summary>Frees the disk of what is settled, after the cursor that says so is durable.</summary>
    public DiskError Trim()
    {
        // With a segment goes an entry that frames of the next one may need, or frames that wait for their commit.
        if (Journal.OldestSegment is { IsEmpty: false } oldest && oldest.Last <= Journal.ConfirmedThrough)
        {
            if (Journal.PendingBytes > 0 && Commit().State == JournalState.Failed)
                return Journal.LastError;
            AppendResult written = WriteDueTables();
            // Without room for them nothing would ever make room: they follow as soon as there is.
            bool isWritten = written == AppendResult.Full
                || (written == AppendResult.Appended && Commit() is { State: not JournalState.Failed } or { Error.IsNoSpace: true });
            if (!isWritten)
                return Journal.LastError;
        }

        marks.Forget(Journal.ConfirmedThrough);
        return Journal.Trim();
    }

    /// <summary>No frame is on disk any more: nobody needs its tables.</summary>
    public void ForgetTables() => tables.Clear();

    /// <summary>The channels of a frame that was read; from any thread.</summary>
    public ChannelTable TableOf(uint number) => tables.Find(number);

    /// <summary>What can be told today of the time of a frame that was read.</summary>
    public Arrival ArrivalOf(in SpilledFrame frame) => frame.Arrival.IsSynchronised || frame.HostBoot == settings.HostBoot
        ? frame.Arrival
        : frame.Arrival with { MonotonicMicroseconds = Arrival.OfAnotherBoot };

    /// <summary>The highest id that is certainly older than an age; 0 if none is.</summary>
    public long LastOlderThan(TimeSpan age) =>
        Math.Max(marks.IdsGivenBy(Seconds - 1 - (long)Math.Ceiling(age.TotalSeconds)) - 1, 0);

    /// <inheritdoc/>
    public void Dispose() => journal?.Dispose();

    private bool IsMarkDue => Seconds - marks.LastSeconds >= markSeconds;

    // Never less than what a mark of before says, and no jump for what came since the start.
    private long Seconds => settings.RunTime.Seconds + secondsBefore;

    private void Begin(RecordJournal opened, RecoveryReport report)
    {
        journal = opened;
        Report = report;
        segmentsSeen = opened.Counters.SegmentsBegun;
        secondsBefore = Math.Max(marks.LastSeconds - settings.RunTime.Seconds, 0);
        SettleNamelessDoubtful();
        MissingTables = tables.Due.Count(number => tables.Find(number).Channels.Count == 0);
        if (FramesOnDisk > 0)
            OnDisk = new IdRange(firstOnDisk, opened.LastId);
        // Tables and marks alone are nobody's backlog.
        opened.Confirm(new IdRange(opened.ConfirmedThrough + 1, FramesOnDisk > 0 ? firstOnDisk - 1 : opened.LastId));
        if (FramesOnDisk == 0)
            tables.Clear();
    }

    private void TellLastCommit(FrameVisitor visitor, bool isProof)
    {
        foreach ((string deviceId, uint bootId, uint sequence) in lastCommit)
            visitor(deviceId, bootId, isProof ? sequence : 0);
        lastCommit.Clear();
    }

    // Such a frame was never acknowledged, or nearly: its device sends it again, with names. Told without them first, a
    // consumer would take the better one for a duplicate.
    private void SettleNamelessDoubtful()
    {
        foreach ((long id, uint table) in doubtful)
        {
            if (!Report.IsLastCommitWrittenAgain && (table == 0 || tables.Find(table).Channels.Count > 0))
                continue;
            Journal.Confirm(id);
            FramesOnDisk--;
        }

        doubtful.Clear();
    }

    private void Learn(in JournalRecord record, FrameVisitor visitor)
    {
        switch (SpilledFrame.KindOf(record.Payload))
        {
            case SpilledKind.Frame when SpilledFrame.TryRead(record.Payload, out SpilledFrame frame):
                if (record.CommitFirstId != lastCommitId)
                    TellLastCommit(visitor, isProof: true);
                lastCommitId = record.CommitFirstId;
                lastCommit.Add((
                    Encoding.UTF8.GetString(frame.DeviceId), frame.BootId, record.IsDoubtful ? 0 : frame.Sequence));
                if (record.IsConfirmed)
                    break;
                if (FramesOnDisk++ == 0)
                    firstOnDisk = record.Id;
                tables.LearnUse(frame.Table);
                if (record.IsDoubtful)
                    doubtful.Add((record.Id, frame.Table));
                break;
            case SpilledKind.Table when SpilledTable.TryRead(record.Payload, out uint number, out List<Channel> channels):
                tables.Learn(number, channels);
                break;
            case SpilledKind.Mark when SpilledMark.TryRead(record.Payload, out long seconds):
                marks.Add(record.Id, seconds);
                break;
        }
    }

    private AppendResult WriteDueTables()
    {
        while (tables.Due.Count > 0)
        {
            uint number = tables.Due.First();
            AppendResult result = WriteTable(number, tables.Find(number));
            if (result != AppendResult.Appended)
                return result;
        }

        return AppendResult.Appended;
    }

    private AppendResult WriteTable(uint number, ChannelTable table)
    {
        for (int next = 0; next < table.Channels.Count;)
        {
            int bytes = SpilledTable.Write(entry, number, table.Channels, ref next);
            AppendResult result = WriteNote(bytes, out _);
            if (result != AppendResult.Appended)
                return result;
        }

        tables.Written(number);
        return AppendResult.Appended;
    }

    private AppendResult WriteMark()
    {
        long seconds = Seconds;
        AppendResult result = WriteNote(SpilledMark.Write(entry, seconds), out long id);
        if (result == AppendResult.Appended)
            marks.Add(id, seconds);
        return result;
    }

    // Nobody waits for it to be delivered: it stays as long as its segment does.
    private AppendResult WriteNote(int bytes, out long id)
    {
        AppendResult result = Journal.TryAppend(entry.AsSpan(0, bytes), out id, mayUseReserve: true);
        if (result == AppendResult.Appended)
            Journal.Confirm(id);
        return result;
    }

    private int Encode(in BufferedRecord record, uint table, string reason)
    {
        Span<byte> deviceId = stackalloc byte[Protocol.ProtocolConstants.NameBytesMax];
        Span<byte> why = stackalloc byte[SpilledFrame.ReasonBytesMax];
        int idBytes = Encoding.UTF8.GetBytes(record.Stream.DeviceId, deviceId);
        int whyBytes = Encoding.UTF8.GetBytes(reason.AsSpan(0, Math.Min(reason.Length, why.Length / 3)), why);
        return new SpilledFrame
        {
            DeviceId = deviceId[..idBytes],
            BootId = record.Stream.BootId,
            Sequence = record.Sequence,
            Table = table,
            Arrival = Resolved(record.Arrival),
            HostBoot = record.Arrival.MonotonicMicroseconds == Arrival.OfAnotherBoot ? 0 : settings.HostBoot,
            Reason = why[..whyBytes],
            Body = record.Body,
        }.Write(entry);
    }

    // Once the host is started anew nobody can tell any more when it was.
    private Arrival Resolved(in Arrival arrival)
    {
        if (!arrival.IsSynchronised && settings.UnixMillisecondsOf(arrival) is { } unixMilliseconds)
            return new Arrival(unixMilliseconds, 0, IsSynchronised: true);
        return arrival with { MonotonicMicroseconds = Math.Max(arrival.MonotonicMicroseconds, 0) };
    }
}

/// <summary>What a lane's journal is told of the gateway.</summary>
/// <param name="TableBytesMax">Memory for channel tables.</param>
/// <param name="MaxAge">How old frames become.</param>
/// <param name="RunTime">How long the gateway has run.</param>
/// <param name="HostBoot">Which boot of the host it is; not 0.</param>
/// <param name="UnixMillisecondsOf">The time of an arrival, if the clock was synchronised since; null if not.</param>
internal sealed record LaneSettings(
    long TableBytesMax, TimeSpan MaxAge, RunTime RunTime, uint HostBoot, Func<Arrival, long?> UnixMillisecondsOf);
