namespace IotTcpGateway.Journal;

/// <summary>A record as it is read; valid until the next call of whoever gave it.</summary>
public readonly ref struct JournalRecord
{
    internal JournalRecord(
        long id, ReadOnlySpan<byte> payload, bool isDoubtful = false, bool isConfirmed = false, long commitFirstId = 0)
    {
        CommitFirstId = commitFirstId;
        Id = id;
        Payload = payload;
        IsDoubtful = isDoubtful;
        IsConfirmed = isConfirmed;
    }

    /// <summary>The id that it was appended under.</summary>
    public long Id { get; }

    /// <summary>What was appended.</summary>
    public ReadOnlySpan<byte> Payload { get; }

    /// <summary>
    /// Told at the start only: an earlier record of the same commit is missing, and nothing proves that this commit was
    /// ever synced. The record itself is whole; but it is no proof that its sender was told to forget what came before.
    /// </summary>
    public bool IsDoubtful { get; }

    /// <summary>Told at the start only: the first id of the commit that it was in, within its segment.</summary>
    public long CommitFirstId { get; }

    /// <summary>Told at the start only: the cursor is past it. It is shown because it is there.</summary>
    public bool IsConfirmed { get; }
}

/// <summary>
/// Is shown every whole record that is on disk, in order, while the journal is opened: confirmed ones too, whose
/// segment is still there.
/// </summary>
public delegate void RecordVisitor(in JournalRecord record);

/// <summary>Records that are missing.</summary>
/// <param name="Ids">Their ids.</param>
/// <param name="Segment">The file in which the next record was found, or the last file.</param>
/// <param name="IsProven">
/// Whether they were synced once, and so are lost; otherwise they may as well never have been acknowledged.
/// </param>
public readonly record struct DamagedRange(IdRange Ids, string Segment, bool IsProven);

/// <summary>What was found when the journal was opened, and what was done about it.</summary>
public sealed class RecoveryReport
{
    /// <summary>How many <see cref="Damage"/> entries are kept; <see cref="MissingRecords"/> counts all.</summary>
    public const int DamageEntriesMax = 64;

    private readonly List<DamagedRange> damage = [];

    /// <summary>Segments in use.</summary>
    public int Segments { get; internal set; }

    /// <summary>Whole records, confirmed ones included.</summary>
    public long Records { get; internal set; }

    /// <summary>Of these, the ones that are not confirmed.</summary>
    public long UnconfirmedRecords { get; internal set; }

    /// <summary>
    /// Whether what was found would survive a power cut. False when the newest segment could not be synced and read
    /// anew: its last commit may be in the page cache alone.
    /// </summary>
    public bool IsFromDisk { get; internal set; } = true;

    /// <summary>
    /// Whether the last commit was in the page cache alone, as far as anybody can tell, and is written again; records
    /// of it that are doubtful are not, and count as missing.
    /// </summary>
    public bool IsLastCommitWrittenAgain { get; internal set; }

    /// <summary>How the cursor was found.</summary>
    public CursorState Cursor { get; internal set; }

    /// <summary>Every record up to this id is settled.</summary>
    public long ConfirmedThrough { get; internal set; }

    /// <summary>The id that the next record gets.</summary>
    public long NextId { get; internal set; }

    /// <summary>Unconfirmed records that are missing between those found.</summary>
    public long MissingRecords { get; internal set; }

    /// <summary>The first missing ranges.</summary>
    public IReadOnlyList<DamagedRange> Damage => damage;

    /// <summary>Bytes behind the last record that are none: an unfinished write, or damage.</summary>
    public long TornBytes { get; internal set; }

    /// <summary>Whether these were cut from the segment; otherwise they stay and are not read.</summary>
    public bool IsTornTailCut { get; internal set; }

    /// <summary>Segments whose header was damaged, read all the same.</summary>
    public int DamagedHeaders { get; internal set; }

    /// <summary>Segments in which nothing was left to read, renamed to <c>.broken</c> if the disk let us.</summary>
    public int BrokenSegments { get; internal set; }

    /// <summary>Segments that could not be opened or read at all and stay as they are.</summary>
    public int UnreadableSegments { get; internal set; }

    /// <summary>Files that are not ours, renamed to <c>.alien</c> if the disk let us.</summary>
    public int AlienFiles { get; internal set; }

    /// <summary>The first failed read: what it would have read counts as damaged.</summary>
    public DiskError ReadError { get; internal set; }

    /// <summary>
    /// The first failed change of the disk: the journal is open, but what should have been tidied is not.
    /// </summary>
    public DiskError WriteError { get; internal set; }

    /// <summary>Whether there is nothing an operator would want to know.</summary>
    public bool IsClean => IsFromDisk && MissingRecords == 0 && TornBytes == 0
        && DamagedHeaders == 0 && BrokenSegments == 0
        && UnreadableSegments == 0 && AlienFiles == 0 && ReadError.IsNone && WriteError.IsNone
        && Cursor is CursorState.New or CursorState.Whole;

    internal void AddMissing(in DamagedRange range)
    {
        MissingRecords += range.Ids.Count;
        if (damage.Count < DamageEntriesMax)
            damage.Add(range);
    }

    internal void NoteRead(DiskError error)
    {
        if (ReadError.IsNone)
            ReadError = error;
    }

    internal DiskError NoteWrite(DiskError error)
    {
        if (WriteError.IsNone)
            WriteError = error;
        return error;
    }
}
