namespace IotTcpGateway.Journal;

/// <summary>What a journal can do at present.</summary>
public enum JournalState
{
    /// <summary>Everything.</summary>
    Healthy,

    /// <summary>
    /// The disk is full. What was taken is synced, with the help of the reserve; nothing more is taken.
    /// </summary>
    Full,

    /// <summary>
    /// The disk refuses. What was taken and is not synced is kept in memory, and every commit tries again.
    /// </summary>
    Failed,
}

/// <summary>The outcome of <see cref="RecordJournal.TryAppend"/>.</summary>
public enum AppendResult
{
    /// <summary>Taken into memory; safe after the next successful commit.</summary>
    Appended,

    /// <summary>There is no room in memory before the next commit.</summary>
    CommitFirst,

    /// <summary>The journal's cap is reached, or the disk is full: confirm and trim, or give records up.</summary>
    Full,

    /// <summary>The journal has failed: nothing is taken until a commit succeeds.</summary>
    Failed,

    /// <summary>The payload is larger than <see cref="JournalOptions.PayloadBytesMax"/>.</summary>
    TooLarge,
}

/// <summary>The outcome of <see cref="RecordJournal.Commit"/>.</summary>
/// <param name="State">What the journal can do now.</param>
/// <param name="SyncedThrough">Every record up to this id, as far as it is not damaged, would survive a power
/// cut.</param>
/// <param name="Error">The last thing that the disk refused; none when the state is Healthy.</param>
public readonly record struct CommitResult(JournalState State, long SyncedThrough, DiskError Error);

/// <summary>The outcome of <see cref="JournalReader.TryRead"/>.</summary>
public enum ReadResult
{
    /// <summary>A record.</summary>
    Record,

    /// <summary>Records are missing: <see cref="JournalReader.Gap"/> says which.</summary>
    Gap,

    /// <summary>There is no further synced record for now.</summary>
    End,

    /// <summary>
    /// The next segment cannot be opened at present: <see cref="JournalReader.ReadError"/> says why; try again.
    /// </summary>
    Failed,
}
