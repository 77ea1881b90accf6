using System.Buffers.Binary;

namespace IotTcpGateway.Journal;

/// <summary>What a cursor slot holds.</summary>
/// <param name="Confirmed">Every record up to this id is settled.</param>
/// <param name="Synced">Every record up to this id was once synced: a lower highest id found proves damage.</param>
/// <param name="Given">No id up to this one will be given again.</param>
internal readonly record struct CursorSlot(long Confirmed, long Synced, long Given);

/// <summary>How the cursor was found.</summary>
public enum CursorState
{
    /// <summary>There was no cursor and no segment.</summary>
    New,

    /// <summary>Both slots, or the only one ever written, were whole.</summary>
    Whole,

    /// <summary>One slot was damaged: the cursor may be the one before.</summary>
    OneSlotDamaged,

    /// <summary>Neither slot could be read: everything on disk is read again.</summary>
    Lost,
}

/// <summary>
/// Two slots, written by turns, so that a torn write leaves the other. After a failed sync the file is no proof any
/// more and a new one takes its place.
/// </summary>
internal sealed class CursorFile(IJournalDisk disk, JournalCounters counters) : IDisposable
{
    // Apart by a page and more, so that no single torn block takes both.
    private const int SlotDistance = 4096;
    private const int FileBytes = 2 * SlotDistance;
    private const int SlotBytes = 64;
    private const int ChecksumAt = 60;
    private const ushort Version = 1;

    private readonly byte[] slotBytes = GC.AllocateUninitializedArray<byte>(SlotBytes, pinned: true);
    private ISegmentFile? file;
    private ulong turn;

    /// <summary>What is synced; the cursor on disk is at least this.</summary>
    public CursorSlot Synced { get; private set; }

    /// <summary>What the other slot holds, synced: what would be left if the newer one were damaged.</summary>
    public CursorSlot SyncedBefore { get; private set; }

    /// <summary>Whether a slot was written since the start, so that <see cref="Synced"/> is true.</summary>
    public bool IsOpen => file is not null;

    private static ReadOnlySpan<byte> Magic => "ITGJCUR\n"u8;

    /// <summary>Reads the better slot. It proves nothing of the disk: it may have come from the page cache.</summary>
    public CursorState Read(out CursorSlot slot)
    {
        slot = default;
        if (!disk.Open(DirectoryNames.Cursor, FileOpening.Read, out ISegmentFile? found).IsNone)
            return CursorState.Lost;
        using (found)
        {
            SlotState first = ReadSlot(found!, 0, ref slot);
            SlotState second = ReadSlot(found!, SlotDistance, ref slot);
            if (first != SlotState.Whole && second != SlotState.Whole)
                return CursorState.Lost;
            return first == SlotState.Damaged || second == SlotState.Damaged
                ? CursorState.OneSlotDamaged
                : CursorState.Whole;
        }
    }

    /// <summary>Writes and syncs a slot.</summary>
    public DiskError Write(in CursorSlot slot)
    {
        bool isNew = file is null;
        DiskError error = file is null ? Replace(slot) : Append(file, slot);
        if (!error.IsNone)
        {
            Distrust();
            return error;
        }

        SyncedBefore = isNew ? slot : Synced;
        Synced = slot;
        return error;
    }

    public void Dispose() => file?.Dispose();

    private void Distrust()
    {
        file?.Dispose();
        file = null;
    }

    private DiskError Append(ISegmentFile target, in CursorSlot slot)
    {
        DiskError error = WriteSlot(target, slot);
        return error.IsNone ? counters.CountSync(target.Sync()) : error;
    }

    // A new file with the same in both slots; both names lead to a whole cursor at every moment.
    private DiskError Replace(in CursorSlot slot)
    {
        const string temporary = DirectoryNames.Cursor + DirectoryNames.TemporarySuffix;
        DiskError error = disk.Open(temporary, FileOpening.Create, out ISegmentFile? created);
        if (!error.IsNone)
            return error;
        error = Zeros.Write(created!, counters, 0, FileBytes);
        if (error.IsNone)
            error = WriteSlot(created!, slot);
        if (error.IsNone)
            error = WriteSlot(created!, slot);
        if (error.IsNone)
            error = counters.CountSync(created!.Sync());
        if (error.IsNone)
            error = disk.Rename(temporary, DirectoryNames.Cursor);
        if (error.IsNone)
            error = counters.CountSync(disk.SyncDirectory());
        if (error.IsNone)
            file = created;
        else
            created!.Dispose();
        return error;
    }

    private DiskError WriteSlot(ISegmentFile target, in CursorSlot slot)
    {
        turn++;
        Span<byte> bytes = slotBytes;
        bytes.Clear();
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[8..], Version);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], turn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[24..], slot.Confirmed);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[32..], slot.Synced);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[40..], slot.Given);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[ChecksumAt..], Crc32C.Compute(bytes[..ChecksumAt]));
        DiskError error = target.Write((long)(turn % 2) * SlotDistance, bytes);
        if (error.IsNone)
            counters.CountOther(SlotBytes);
        return error;
    }

    private SlotState ReadSlot(ISegmentFile found, long offset, ref CursorSlot slot)
    {
        Span<byte> bytes = slotBytes;
        if (!found.Read(offset, bytes, out int length).IsNone || length < SlotBytes)
            return SlotState.Damaged;
        if (!bytes.ContainsAnyExcept((byte)0))
            return SlotState.Empty;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumAt..]) != Crc32C.Compute(bytes[..ChecksumAt])
            || !bytes.StartsWith(Magic)
            || BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]) != Version)
        {
            return SlotState.Damaged;
        }

        var read = new CursorSlot(
            BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[40..]));
        // Nobody wrote this. Believed, it would make the next segment's header one that the next start refuses.
        if (read is { Confirmed: < 0 } or { Synced: < 0 } or { Given: < 0 })
            return SlotState.Damaged;
        ulong slotTurn = BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]);
        if (slotTurn > turn)
            (turn, slot) = (slotTurn, read);
        return SlotState.Whole;
    }

    private enum SlotState
    {
        Empty,
        Whole,
        Damaged,
    }
}
