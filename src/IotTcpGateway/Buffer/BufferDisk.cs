using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Everything that the buffer has on disk: a journal for each lane, made when it is first needed, the quarantine, and
/// the custody file. For the spilling thread, but for <see cref="Find"/>.
/// </summary>
internal sealed class BufferDisk : IDisposable
{
    public const int Lanes = 3;

    public const string QuarantineName = "quarantine";
    public const string LedgerName = "ledger";

    private const int SegmentBytesMin = 256 << 10;
    private const int SegmentBytesMax = 8 << 20;
    private const int SegmentsInAll = 16;

    // What a commit may need beyond what is counted: headers, tables, a mark.
    private const int SlackBytes = 64 << 10;

    private readonly IBufferDirectory directory;
    private readonly BufferOptions options;
    private readonly LaneSettings settings;
    private readonly RecordBuffer buffer;
    private long missing;
    private readonly LaneJournal?[] lanes = new LaneJournal?[Lanes];

    public BufferDisk(IBufferDirectory directory, BufferOptions options, LaneSettings settings, RecordBuffer buffer)
    {
        this.directory = directory;
        this.options = options;
        this.settings = settings;
        this.buffer = buffer;
    }

    public LaneJournal? Quarantine { get; private set; }

    /// <summary>The last failure to make or open something; none when that went well.</summary>
    public DiskError OpenError { get; private set; }

    /// <summary>What was found damaged at the start, a line each.</summary>
    public List<string> Damage { get; } = [];

    /// <summary>Entries that were missing at the start; asked once.</summary>
    public long TakeMissing()
    {
        long taken = missing;
        missing = 0;
        return taken;
    }

    /// <summary>Bytes of all lanes' files.</summary>
    public long Bytes => lanes.Sum(l => l?.Journal.DiskBytes ?? 0);

    /// <summary>The same, zeros written ahead not counted.</summary>
    public long UsedBytes => lanes.Sum(l => l?.Journal.UsedBytes ?? 0);

    public IEnumerable<LaneJournal> Journals => lanes.Append(Quarantine).OfType<LaneJournal>();

    private static string NameOf(int priority) => "lane-" + (char)('0' + priority);

    /// <summary>Opens what there is from before the start.</summary>
    public DiskError Open(CustodyMemory custody)
    {
        OpenError = directory.Prepare();
        if (!OpenError.IsNone)
            return OpenError;
        if (CustodyFile.TryRead(directory.Root, out long seconds, out List<CustodyEntry> entries))
        {
            settings.RunTime.Resume(seconds);
            foreach (CustodyEntry entry in entries)
                custody.Learn(entry.DeviceId, entry.BootId, entry.Priority, entry.SafeSequence);
        }

        for (int priority = 1; priority <= Lanes; priority++)
        {
            if (lanes[priority - 1] is null && directory.Has(NameOf(priority)) && Open(priority, custody) is null)
                return OpenError;
        }

        return DiskError.None;
    }

    /// <summary>The journal of a lane, made if need be; null if that fails.</summary>
    public LaneJournal? Lane(int priority) => lanes[priority - 1] ?? Open(priority, new CustodyMemory(0));

    /// <summary>The journal of a lane, if it is open; from any thread.</summary>
    public LaneJournal? Find(int priority) => Volatile.Read(ref lanes[priority - 1]);

    /// <summary>
    /// Whether a lane may take another commit of frames under the cap that all lanes share; a little is kept for what
    /// must be written to make room.
    /// </summary>
    public bool HasRoom(int priority, int commitBytes)
    {
        long used = commitBytes + SlackBytes;
        for (int lane = 1; lane <= Lanes; lane++)
        {
            if (lanes[lane - 1]?.Journal is { } journal)
                used += lane == priority ? journal.UsedBytes : Math.Max(journal.DiskBytes, journal.UsedBytes);
        }

        return used <= options.Disk;
    }

    /// <summary>The quarantine, made if need be; null if that fails.</summary>
    public LaneJournal? OpenQuarantine()
    {
        if (Quarantine is not null)
            return Quarantine;
        OpenError = directory.Open(QuarantineName, out IJournalDisk disk);
        if (OpenError.IsNone)
        {
            OpenError = LaneJournal.Open(disk, Sizes(options.Quarantine), settings, IgnoreFrame, out LaneJournal? opened);
            Quarantine = opened;
            if (opened is not null)
                Note(QuarantineName, opened);
        }

        return Quarantine;
    }

    public bool HasLedger => directory.Has(LedgerName);

    /// <summary>Where the ledger is.</summary>
    public DiskError OpenLedgerDirectory(out IJournalDisk disk) => directory.Open(LedgerName, out disk);

    /// <summary>Leaves behind, for the next start, what is safe.</summary>
    public DiskError WriteCustody(IReadOnlyCollection<CustodyEntry> entries) =>
        CustodyFile.Write(directory.Root, settings.RunTime.Seconds, entries);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LaneJournal journal in Journals)
            journal.Dispose();
    }

    private LaneJournal? Open(int priority, CustodyMemory custody)
    {
        OpenError = directory.Open(NameOf(priority), out IJournalDisk disk);
        if (!OpenError.IsNone)
            return null;
        OpenError = LaneJournal.Open(
            disk,
            Sizes(options.Disk),
            settings,
            (deviceId, bootId, sequence) => custody.Learn(deviceId, bootId, priority, sequence),
            out LaneJournal? opened);
        if (opened is null)
            return null;
        Note(NameOf(priority), opened);
        Volatile.Write(ref lanes[priority - 1], opened);
        buffer.Attach(priority, opened, opened.OnDisk, opened.FramesOnDisk);
        return opened;
    }

    private static JournalOptions Sizes(long bytesMax)
    {
        int segmentBytes = (int)Math.Clamp(bytesMax / SegmentsInAll, SegmentBytesMin, SegmentBytesMax) & ~7;
        return new JournalOptions
        {
            BytesMax = bytesMax,
            SegmentBytes = segmentBytes,
            PreallocateBytes = segmentBytes / 8,
            PayloadBytesMax = LaneJournal.EntryBytesMax,
            IsTrimmedAtStart = false,
        };
    }

    private static void IgnoreFrame(string deviceId, uint bootId, uint sequence)
    {
        // What is in quarantine says nothing of what its device may forget.
    }

    private void Note(string name, LaneJournal opened)
    {
        RecoveryReport report = opened.Report;
        if (opened.MissingTables > 0)
            Damage.Add($"{name}: {opened.MissingTables} tables of channels missing, their frames go without names");
        if (report.IsClean)
            return;
        missing += report.MissingRecords;
        Damage.Add(
            $"{name}: {report.MissingRecords} entries missing, {report.TornBytes} torn bytes cut, "
            + $"{report.DamagedHeaders} damaged headers, {report.BrokenSegments} broken segments, "
            + $"{report.UnreadableSegments} unreadable, {report.AlienFiles} alien files, cursor {report.Cursor}, "
            + $"read {report.ReadError}, write {report.WriteError}");
    }
}
