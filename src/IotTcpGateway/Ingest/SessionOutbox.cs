using System.Buffers;
using System.Net.Sockets;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>
/// What a connection has to tell its device: frames in order, one send at a time, ACKs merged while a send is under way.
/// It keeps the account of the window too, for a window is told and freed by what is sent. Safe for several threads.
/// </summary>
internal sealed class SessionOutbox(Connection connection, AckPump pump, TimeProvider time) : IStreamOwner, IDisposable
{
    /// <summary>Bytes waiting, from which on nothing more should be asked of the outbox.</summary>
    public const int BusyBytes = 4096;

    private const int BlockBytes = 1024;

    private readonly Lock gate = new();
    private readonly OutstandingFrames outstanding = new();
    private Queue<(uint Sequence, NackReason Reason, byte[] Text)>? nacks;
    private DeviceStream? stream;
    private Func<ushort>? windowNow;
    private FrameTagger? tagger;
    private byte[]? pending;
    private int pendingBytes;
    private bool isSending;
    private bool isBroken;
    private bool isQueued;
    private bool ackOwed;
    private uint acknowledged;
    private ushort windowTold;
    private long sendingSince;
    private TaskCompletionSource? windowWaiter;
    private TaskCompletionSource? drainWaiter;

    /// <summary>When the send under way began; 0 if there is none.</summary>
    public long SendingSince => Volatile.Read(ref sendingSince);

    /// <summary>Whether a further DATA frame is within the window that the device was told.</summary>
    public bool HasWindow
    {
        get
        {
            lock (gate)
                return outstanding.Count < windowTold;
        }
    }

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
            windowTold = window;
            windowNow = currentWindow;
            tagger = fromNowOn;
        }

        StartSending();
    }

    /// <summary>Counts a DATA frame received on this connection.</summary>
    public void Received(uint sequence)
    {
        lock (gate)
            outstanding.Add(sequence);
    }

    /// <summary>Owes an ACK, even if it repeats the last one.</summary>
    public void OweAck()
    {
        lock (gate)
        {
            ackOwed = true;
            QueueNeedsLock();
        }
    }

    /// <summary>Owes a NACK of a frame received on this connection.</summary>
    public void OweNack(uint sequence, NackReason reason, ReadOnlySpan<byte> text)
    {
        lock (gate)
        {
            // Bounded by the window: only a frame that is outstanding is queued, and it is no longer then.
            if (!outstanding.Refuse(sequence))
                return;
            (nacks ??= new()).Enqueue((sequence, reason, text.ToArray()));
            QueueNeedsLock();
        }
    }

    /// <inheritdoc/>
    public void SafeAdvanced() => OweAck();

    /// <inheritdoc/>
    public void FrameDropped(uint sequence, DropReason reason)
    {
        if (reason == DropReason.Refused)
            OweNack(sequence, NackReason.ValueRefused, "refused by the broker"u8);
        else
            OweNack(sequence, NackReason.Dropped, "dropped, buffer full"u8);
    }

    /// <summary>The buffer has room again: a device that is held back is told.</summary>
    public void WindowOpened()
    {
        lock (gate)
        {
            if (windowNow is not null && outstanding.Count >= windowTold)
            {
                ackOwed = true;
                QueueNeedsLock();
            }
        }
    }

    /// <summary>Completes when a further DATA frame is within the window, or the outbox is disposed. For one waiter.</summary>
    public Task WaitForWindowAsync()
    {
        lock (gate)
        {
            if (isBroken || outstanding.Count < windowTold)
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

    // Its end is observed by DrainAsync; a failed send breaks the connection, which the read loop sees.
    private async Task SendLoopAsync()
    {
        while (TryTakeBlock(out byte[] block, out int bytes))
        {
            try
            {
                Volatile.Write(ref sendingSince, time.GetTimestamp());
                for (int sent = 0; sent < bytes;)
                    sent += await connection.SendAsync(block.AsMemory(sent, bytes - sent)).ConfigureAwait(false);
                Volatile.Write(ref sendingSince, 0);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The device is gone; what it was owed is told anew after its reconnect.
                Break();
                connection.StopReading();
            }

            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private bool TryTakeBlock(out byte[] block, out int bytes)
    {
        TaskCompletionSource? opened = null, drained = null;
        lock (gate)
        {
            if (!isBroken)
                opened = ComposeOwedNeedsLock();
            if (isBroken || pendingBytes == 0)
            {
                isSending = false;
                drained = drainWaiter;
                drainWaiter = null;
                block = [];
                bytes = 0;
            }
            else
            {
                block = pending!;
                bytes = pendingBytes;
                pending = null;
                pendingBytes = 0;
            }
        }

        opened?.TrySetResult();
        drained?.TrySetResult();
        return bytes > 0;
    }

    private TaskCompletionSource? ComposeOwedNeedsLock()
    {
        if (stream is null || windowNow is null)
            return null;
        // A NACK goes before any ACK that covers it: else the device would take the frame for delivered.
        while (nacks is not null && nacks.TryDequeue(out (uint Sequence, NackReason Reason, byte[] Text) nack))
        {
            WriteNeedsLock(FrameType.Nack, nack.Sequence, [(byte)nack.Reason, .. nack.Text]);
        }

        uint safe = stream.SafeSequence;
        if (ackOwed)
        {
            ackOwed = false;
            acknowledged = Math.Max(acknowledged, safe);
            windowTold = windowNow();
            Span<byte> body = stackalloc byte[sizeof(ushort)];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16LittleEndian(body, windowTold);
            WriteNeedsLock(FrameType.Ack, acknowledged, body);
            outstanding.Acknowledge(acknowledged);
        }

        if (outstanding.Count >= windowTold)
            return null;
        TaskCompletionSource? opened = windowWaiter;
        windowWaiter = null;
        return opened;
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
        if (isBroken)
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
            window = windowWaiter;
            drained = drainWaiter;
            windowWaiter = drainWaiter = null;
            if (!isSending)
                tagger?.Dispose();
        }

        window?.TrySetResult();
        drained?.TrySetResult();
    }
}
