using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>
/// What a connection has to tell its device: frames in order, one send at a time, ACKs merged while a send is under
/// way. It keeps the account of the window too, for a window is told and freed by what is sent. Safe for several
/// threads; its lock may take the buffer's, never the other way round.
/// </summary>
/// <param name="connection">Where frames go.</param>
/// <param name="buffer">Asked for progress.</param>
/// <param name="pump">Sends what is owed.</param>
/// <param name="time">For the deadline of a send.</param>
/// <param name="failed">Called when the device cannot be told anything any more.</param>
internal sealed class SessionOutbox(
    Connection connection, RecordBuffer buffer, AckPump pump, TimeProvider time, Action failed)
    : IStreamOwner, IDisposable
{
    // What waits to be sent is bounded: COMMAND and PONG are not asked for from this size on (IsBusy), NACKs are
    // composed up to it, an ACK only when a block is taken to be sent, and the handshake's frames and BYE come once.
    private const int BusyBytes = 4096;

    private const int BlockBytes = 1024;

    private readonly Lock gate = new();
    private readonly OutstandingFrames outstanding = new();

    // Bounded by the window: only a frame that is outstanding is queued, and it is no longer then.
    private Queue<(uint Sequence, NackReason Reason, byte[] Text)>? nacks;
    private DeviceStream? stream;
    private Func<ushort>? windowNow;
    private FrameTagger? tagger;
    private byte[]? pending;
    private int pendingBytes;
    private bool isSending;
    private bool isEnding;
    private bool isBroken;
    private bool isQueued;
    private bool ackOwed;
    private bool hasProgressed;
    private uint acknowledged;
    private ushort windowTold;
    private long received;
    private long permitted;
    private long sendingSince;
    private Exception? defect;
    private TaskCompletionSource? windowWaiter;
    private TaskCompletionSource? drainWaiter;

    /// <summary>When the send under way began; 0 if there is none.</summary>
    public long SendingSince => Volatile.Read(ref sendingSince);

    /// <summary>Whether nothing can be sent any more.</summary>
    public bool IsBroken => Volatile.Read(ref isBroken);

    /// <summary>What broke it, if that was not the network.</summary>
    public Exception? Defect => Volatile.Read(ref defect);

    /// <summary>Whether the device does not take what it is sent.</summary>
    public bool IsBusy
    {
        get
        {
            lock (gate)
                return pendingBytes >= BusyBytes;
        }
    }

    /// <summary>Sends a frame after what waits already.</summary>
    public void Send(FrameType type, uint sequence, ReadOnlySpan<byte> body)
    {
        lock (gate)
            WriteNeedsLock(type, sequence, body);
        StartSending();
    }

    /// <summary>Sends the last frame, after what is owed; nothing follows it.</summary>
    public void SendLast(FrameType type, ReadOnlySpan<byte> body)
    {
        lock (gate)
        {
            ComposeOwedNeedsLock();
            WriteNeedsLock(type, 0, body);
            isEnding = true;
        }

        StartSending();
    }

    /// <summary>Sends WELCOME; from then on frames are tagged if a tagger is given, and ACKs flow.</summary>
    public void SendWelcome(
        ReadOnlySpan<byte> body, DeviceStream deviceStream, uint lastSafe, ushort window, FrameTagger? fromNowOn,
        Func<ushort> currentWindow)
    {
        lock (gate)
        {
            WriteNeedsLock(FrameType.Welcome, 0, body);
            stream = deviceStream;
            acknowledged = lastSafe;
            permitted = windowTold = window;
            windowNow = currentWindow;
            tagger = fromNowOn;
            // Room that came after the window was asked for and before anybody could be told of it here.
            ackOwed = window == 0 && currentWindow() > 0;
        }

        StartSending();
    }

    /// <summary>
    /// Counts a DATA frame received on this connection; false if it is beyond what the device may send.
    /// </summary>
    public bool TryReceive(uint sequence)
    {
        lock (gate)
        {
            if (received >= permitted)
                return false;
            received++;
            outstanding.Add(sequence);
            return true;
        }
    }

    /// <summary>Owes an ACK, even if it repeats the last one.</summary>
    public void OweAck()
    {
        lock (gate)
            OweAckNeedsLock();
    }

    /// <summary>Owes a NACK of a frame received on this connection.</summary>
    public void OweNack(uint sequence, NackReason reason, ReadOnlySpan<byte> text)
    {
        lock (gate)
        {
            if (isBroken || !outstanding.Refuse(sequence))
                return;
            (nacks ??= new()).Enqueue((sequence, reason, text.ToArray()));
            QueueNeedsLock();
        }
    }

    /// <inheritdoc/>
    public void Progressed()
    {
        lock (gate)
        {
            hasProgressed = true;
            QueueNeedsLock();
        }
    }

    /// <summary>The buffer has room again: a device that is held back is told.</summary>
    public void WindowOpened()
    {
        lock (gate)
        {
            if (windowNow is not null && outstanding.Count >= windowTold)
                OweAckNeedsLock();
        }
    }

    /// <summary>
    /// Completes when a further DATA frame is within the window, or the outbox is broken. For one waiter.
    /// </summary>
    public Task WaitForWindowAsync()
    {
        lock (gate)
        {
            if (isBroken || received < permitted)
                return Task.CompletedTask;
            windowWaiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return windowWaiter.Task;
        }
    }

    /// <summary>Completes when everything was handed to the kernel, or cannot be. For one waiter.</summary>
    public Task DrainAsync()
    {
        lock (gate)
        {
            if (!isSending || isBroken)
                return Task.CompletedTask;
            drainWaiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return drainWaiter.Task;
        }
    }

    /// <summary>Called by the pump.</summary>
    public void SendOwed()
    {
        lock (gate)
            isQueued = false;
        StartSending();
    }

    /// <inheritdoc/>
    public void Dispose() => Break();

    private void StartSending()
    {
        lock (gate)
        {
            if (isSending || isBroken)
                return;
            isSending = true;
        }

        _ = SendLoopAsync();
    }

    // Owned by the session: DrainAsync sees its end, IsBroken and Defect its failure.
    private async Task SendLoopAsync()
    {
        try
        {
            while (TryTakeBlock(out byte[] block, out int bytes))
                await SendBlockAsync(block, bytes).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // The top of a worker. Mostly the device is gone: what it was owed is told anew after its reconnect.
            if (e is not (SocketException or ObjectDisposedException))
                Volatile.Write(ref defect, e);
            lock (gate)
                isSending = false;
            Break();
            failed();
        }
    }

    private async ValueTask SendBlockAsync(byte[] block, int bytes)
    {
        try
        {
            Volatile.Write(ref sendingSince, time.GetTimestamp());
            for (int sent = 0; sent < bytes;)
                sent += await connection.SendAsync(block.AsMemory(sent, bytes - sent)).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref sendingSince, 0);
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private bool TryTakeBlock(out byte[] block, out int bytes)
    {
        TaskCompletionSource? opened = null, drained = null;
        lock (gate)
        {
            ComposeOwedNeedsLock();
            if (received < permitted)
                (opened, windowWaiter) = (windowWaiter, null);
            if (pending is null)
            {
                isSending = false;
                (drained, drainWaiter) = (drainWaiter, null);
                block = [];
                bytes = 0;
                if (isBroken)
                    tagger?.Dispose();
            }
            else
            {
                block = pending;
                bytes = pendingBytes;
                pending = null;
                pendingBytes = 0;
            }
        }

        opened?.TrySetResult();
        drained?.TrySetResult();
        return bytes > 0;
    }

    // NACKs go before any ACK that covers them: else the device would take the frame for delivered.
    private void ComposeOwedNeedsLock()
    {
        if (stream is null || windowNow is null || isEnding || isBroken)
            return;
        while (pendingBytes < BusyBytes)
        {
            if (nacks is not null && nacks.TryDequeue(out (uint Sequence, NackReason Reason, byte[] Text) nack))
            {
                WriteNackNeedsLock(nack.Sequence, nack.Reason, nack.Text);
                continue;
            }

            if (buffer.TryTakeDropped(stream, out DroppedFrame dropped, out uint safe))
            {
                // What was acknowledged before is a matter of the counters alone.
                if (dropped.Sequence > acknowledged)
                    WriteDroppedNeedsLock(dropped);
                continue;
            }

            if (ackOwed || (hasProgressed && safe > acknowledged))
                WriteAckNeedsLock(Math.Max(acknowledged, safe));
            return;
        }
    }

    private void WriteDroppedNeedsLock(DroppedFrame dropped)
    {
        outstanding.Refuse(dropped.Sequence);
        if (dropped.Reason == DropReason.Refused)
            WriteNackNeedsLock(dropped.Sequence, NackReason.ValueRefused, "refused by the broker"u8);
        else
            WriteNackNeedsLock(dropped.Sequence, NackReason.Dropped, "dropped, buffer full"u8);
    }

    private void WriteNackNeedsLock(uint sequence, NackReason reason, ReadOnlySpan<byte> text)
    {
        Span<byte> body = stackalloc byte[ProtocolConstants.ControlBodyBytesMax];
        int bytes = new Nack { Reason = reason, Text = text }.WriteBody(body);
        WriteNeedsLock(FrameType.Nack, sequence, body[..bytes]);
        PermitNeedsLock();
    }

    private void WriteAckNeedsLock(uint sequence)
    {
        ackOwed = hasProgressed = false;
        acknowledged = sequence;
        windowTold = windowNow!();
        Span<byte> body = stackalloc byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16LittleEndian(body, windowTold);
        WriteNeedsLock(FrameType.Ack, acknowledged, body);
        outstanding.Acknowledge(acknowledged);
        PermitNeedsLock();
    }

    // A smaller window takes nothing back: what the device was free to send by an earlier one may still be on its way.
    private void PermitNeedsLock() => permitted = Math.Max(permitted, received - outstanding.Count + windowTold);

    private void OweAckNeedsLock()
    {
        ackOwed = true;
        QueueNeedsLock();
    }

    private void QueueNeedsLock()
    {
        if (isQueued || isBroken)
            return;
        isQueued = true;
        pump.Enqueue(this);
    }

    private void WriteNeedsLock(FrameType type, uint sequence, ReadOnlySpan<byte> body)
    {
        if (isBroken || isEnding)
            return;
        int needed = ProtocolConstants.FrameBytes(body.Length, tagged: true);
        if (pending is null)
        {
            pending = ArrayPool<byte>.Shared.Rent(Math.Max(BlockBytes, needed));
        }
        else if (pendingBytes + needed > pending.Length)
        {
            byte[] longer = ArrayPool<byte>.Shared.Rent((pendingBytes + needed) * 2);
            pending.AsSpan(0, pendingBytes).CopyTo(longer);
            ArrayPool<byte>.Shared.Return(pending);
            pending = longer;
        }

        pendingBytes += FrameWriter.Write(pending.AsSpan(pendingBytes), type, sequence, body, tagger);
    }

    private void Break()
    {
        TaskCompletionSource? window, drained;
        lock (gate)
        {
            isBroken = true;
            if (pending is not null)
                ArrayPool<byte>.Shared.Return(pending);
            pending = null;
            pendingBytes = 0;
            nacks = null;
            outstanding.Clear();
            (window, drained) = (windowWaiter, drainWaiter);
            windowWaiter = drainWaiter = null;
            if (!isSending)
                tagger?.Dispose();
        }

        window?.TrySetResult();
        drained?.TrySetResult();
    }
}
