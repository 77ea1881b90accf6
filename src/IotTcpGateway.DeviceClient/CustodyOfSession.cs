using System.Buffers.Binary;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>What a fill came to.</summary>
/// <param name="Bytes">Bytes of DATA frames written.</param>
/// <param name="IsUsedUp">Whether every sequence of the boot is used and settled: it takes a new boot to go on.</param>
internal readonly record struct FillResult(int Bytes, bool IsUsedUp);

/// <content>The side of the connection.</content>
internal sealed partial class Custody
{
    // Sequence and body length are written while the gate is held, the rest of the frame after: headers are found again
    // by them.
    private const int LengthAt = 4;
    private const int SequenceAt = 8;

    /// <summary>
    /// The boot id and its highest sequence sent, for HELLO. Takes a new boot if the old one is used up.
    /// </summary>
    /// <remarks>
    /// Frames kept and never sent do not count as used: if a boot id, by bad luck, was taken before, the gateway must
    /// see it,
    /// rather than take them for duplicates.
    /// </remarks>
    public (uint BootId, uint HighestUsed) BootForHello()
    {
        lock (gate)
        {
            if (kept.HeadSequence > uint.MaxValue)
                RenewBootNeedsLock();
            return (bootId, highestSent);
        }
    }

    public void RenewBoot()
    {
        lock (gate)
            RenewBootNeedsLock();
    }

    /// <summary>
    /// Begins to send on a connection; false if the gateway calls frames safe that this boot never sent.
    /// </summary>
    public bool TryOpen(Session opened, uint safe)
    {
        lock (gate)
        {
            if (safe > highestSent)
                return false;
            session = opened;
            kept.Rewind();
        }

        SettleThrough(safe);
        return true;
    }

    public void Close()
    {
        lock (gate)
            session = null;
    }

    /// <summary>Every frame sent, up to a sequence, is safe.</summary>
    public void Acknowledge(Session from, uint sequence, ushort window)
    {
        uint through;
        lock (gate)
        {
            from.Window = window;
            from.InFlight.RemoveThrough(sequence);
            // The number may be above any that was sent: it then speaks of all that were, and of none that was not.
            through = Math.Min(sequence, highestSent);
            from.HasProgress |= kept.Count > 0 && through >= kept.HeadSequence;
        }

        SettleThrough(through);
    }

    /// <summary>One frame will never be forwarded.</summary>
    public void Refuse(Session from, uint sequence, NackReason reason, ReadOnlySpan<byte> text)
    {
        FrameOutcome outcome = default;
        WakeSignal? wake;
        bool isKept;
        lock (gate)
        {
            from.InFlight.Remove(sequence);
            isKept = sequence <= highestSent && kept.TryRemove(sequence, out KeptFrame frame)
                && SettleRefusedNeedsLock(frame, sequence, reason, ToText(text), out outcome);
            from.HasProgress |= isKept;
            AdmitNeedsLock();
            wake = WakeNeedsLock();
        }

        if (isKept)
            Report(outcome);
        wake?.Set();
    }

    /// <summary>Writes DATA frames, as many as the window and the room allow, but for tag and checksum.</summary>
    public FillResult Fill(Session to, Span<byte> room)
    {
        int bytes = 0;
        while (true)
        {
            FrameOutcome tooLarge;
            lock (gate)
            {
                if (kept.HeadSequence > uint.MaxValue)
                    return new FillResult(bytes, IsUsedUp: bytes == 0);
                if (!FillUntilTooLargeNeedsLock(to, room, ref bytes, out tooLarge))
                    return new FillResult(bytes, IsUsedUp: false);
            }

            Report(tooLarge);
        }
    }

    /// <summary>Completes the frames that <see cref="Fill"/> wrote.</summary>
    public static void Seal(Span<byte> frames, FrameTagger? tagger)
    {
        while (!frames.IsEmpty)
        {
            int bodyBytes = BinaryPrimitives.ReadUInt16LittleEndian(frames[LengthAt..]);
            uint sequence = BinaryPrimitives.ReadUInt32LittleEndian(frames[SequenceAt..]);
            int bytes = FrameWriter.Finish(frames, FrameType.Data, sequence, bodyBytes, tagger);
            frames = frames[bytes..];
        }
    }

    // True when a frame was settled, because it is larger than the gateway accepts, and its outcome is to be told.
    private bool FillUntilTooLargeNeedsLock(Session to, Span<byte> room, ref int bytes, out FrameOutcome tooLarge)
    {
        tooLarge = default;
        while (to.HasWindow && kept.TryPeekNext(out KeptFrame frame) && kept.NextSequence <= uint.MaxValue)
        {
            uint sequence = (uint)kept.NextSequence;
            // One that was sent before may have been taken when more was accepted: the gateway decides.
            if (frame.BodyBytes > to.LargestBody && sequence > highestSent)
            {
                kept.Advance();
                kept.TryRemove(sequence, out _);
                AdmitNeedsLock();
                return SettleRefusedNeedsLock(
                    frame, sequence, NackReason.BodyTooLarge, "larger than accepted, not sent", out tooLarge);
            }

            int frameBytes = ProtocolConstants.FrameBytes(frame.BodyBytes, to.IsTagged);
            if (frameBytes > room.Length - bytes)
                break;
            Span<byte> place = room.Slice(bytes, frameBytes);
            BinaryPrimitives.WriteUInt16LittleEndian(place[LengthAt..], frame.BodyBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(place[SequenceAt..], sequence);
            kept.CopyNextBody(place.Slice(ProtocolConstants.HeaderBytes, frame.BodyBytes));
            kept.Advance();
            to.InFlight.Add(sequence);
            bytes += frameBytes;
            CountSentNeedsLock(sequence);
        }

        return false;
    }

    private void CountSentNeedsLock(uint sequence)
    {
        sent++;
        if (sequence <= highestSent)
            repeated++;
        else
            highestSent = sequence;
    }

    private bool SettleRefusedNeedsLock(
        in KeptFrame frame, uint sequence, NackReason reason, string text, out FrameOutcome outcome)
    {
        outcome = OutcomeNeedsLock(frame, sequence, FrameFate.Refused, reason, text);
        refused++;
        AnnounceNeedsLock();
        return true;
    }

    private void SettleThrough(uint through)
    {
        bool isMore;
        do
        {
            int count;
            WakeSignal? wake;
            lock (gate)
            {
                lastSafe = Math.Max(lastSafe, through);
                isMore = onOutcome is null
                    ? SettleAllNeedsLock(through, out count)
                    : SettleBatchNeedsLock(through, out count);
                AdmitNeedsLock();
                wake = WakeNeedsLock();
            }

            wake?.Set();
            for (int i = 0; i < count; i++)
                Tell(batch[i]);
            if (count > 0)
                EndReport();
        }
        while (isMore);
    }

    private bool SettleAllNeedsLock(uint through, out int count)
    {
        count = 0;
        while (kept.Count > 0 && kept.HeadSequence <= through)
        {
            kept.RemoveOldest();
            acknowledged++;
        }

        CompleteFlushesNeedsLock();
        return false;
    }

    private bool SettleBatchNeedsLock(uint through, out int count)
    {
        count = 0;
        while (count < batch.Length && kept.Count > 0 && kept.HeadSequence <= through)
            batch[count++] = SettleOldestNeedsLock(FrameFate.Acknowledged);
        acknowledged += count;
        if (count > 0)
            reportsRunning++;
        return count == batch.Length;
    }

    private void RenewBootNeedsLock()
    {
        bootId = FreshBootId(bootId);
        highestSent = lastSafe = 0;
        kept.Renumber();
    }

    private static string ToText(ReadOnlySpan<byte> utf8) => System.Text.Encoding.UTF8.GetString(utf8);
}
