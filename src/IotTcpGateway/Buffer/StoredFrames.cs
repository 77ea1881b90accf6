using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>A frame on disk, with all that is needed to decode it; valid during the call that it is given to.</summary>
internal readonly ref struct StoredFrame
{
    public required BufferJournal Journal { get; init; }

    /// <summary>Its id within the journal.</summary>
    public required long Id { get; init; }

    /// <summary>Whether it was delivered, or given up, and is only still there.</summary>
    public required bool IsSettled { get; init; }

    public required SpilledFrame Frame { get; init; }

    /// <summary>The channels it arrived under; empty when their table is lost.</summary>
    public required ChannelTable Channels { get; init; }
}

/// <summary>Is shown a frame; false if no more are wanted.</summary>
internal delegate bool StoredFrameVisitor(in StoredFrame frame);

/// <summary>Reads the frames of a journal: first the tables, then the frames.</summary>
internal static class StoredFrames
{
    /// <summary>Shows every frame of a journal, oldest first.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="isLive">Whether a gateway may write to it.</param>
    /// <param name="readsSettled">Whether settled ones are shown too.</param>
    /// <param name="visitor">Is shown each one.</param>
    /// <param name="report">What was found; null when the directory cannot be listed.</param>
    public static DiskError Read(
        BufferJournal journal, bool isLive, bool readsSettled, StoredFrameVisitor visitor, out RecoveryReport? report)
    {
        SpilledTables tables = new();
        DiskError error = JournalView.Open(journal.Path, isLive, GatherTables, out JournalView? view);
        report = view?.Report;
        if (view is null)
            return error;
        using (view)
            return view.Read(readsSettled, Show);

        RecordVisitor GatherTables()
        {
            tables = new SpilledTables();
            return tables.Visit;
        }

        bool Show(in JournalRecord record, bool isSettled) =>
            !SpilledFrame.TryRead(record.Payload, out SpilledFrame frame) || visitor(new StoredFrame
            {
                Journal = journal,
                Id = record.Id,
                IsSettled = isSettled,
                Frame = frame,
                Channels = tables.Find(frame.Table),
            });
    }
}
