using System.Buffers.Binary;
using System.Security.Cryptography;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>
/// What the client keeps, and whom it tells what became of it. This part takes frames in; the other speaks with the
/// connection. Callbacks are called with the gate open.
/// </summary>
internal sealed partial class Custody
{
    private readonly Lock gate = new();
    private readonly KeptFrames kept;
    private readonly LinkedList<WaitingSend> waitingSends = [];
    private readonly List<WaitingFlush> waitingFlushes = [];
    private readonly TimeProvider time;
    private readonly WhenFull whenFull;
    private readonly Action<FrameOutcome>? onOutcome;
    private readonly FrameOutcome[] batch;
    private Session? session;
    private Exception? stopped;
    private uint bootId;
    private uint highestSent;
    private uint lastSafe;
    private int reportsRunning;
    private long sent;
    private long repeated;
    private long acknowledged;
    private long refused;
    private long dropped;

    public Custody(DeviceClientOptions options)
    {
        kept = new KeptFrames(options.MemoryBytesMax, options.FirstSequence);
        highestSent = options.FirstSequence - 1;
        bootId = options.BootId ?? FreshBootId(0);
        time = options.TimeProvider;
        whenFull = options.WhenFull;
        onOutcome = options.OnOutcome;
        batch = onOutcome is null ? [] : new FrameOutcome[32];
    }

    private sealed class WaitingSend(ReadOnlyMemory<byte> body)
        : TaskCompletionSource<ulong>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public ReadOnlyMemory<byte> Body => body;
    }

    private sealed class WaitingFlush(ulong through)
        : TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public ulong Through => through;
    }

    /// <summary>Keeps a frame; false when the memory is full and the frame is to wait.</summary>
    public bool TryAdd(ReadOnlySpan<byte> body, out ulong number)
    {
        RequireFits(body.Length);
        WakeSignal? wake;
        while (true)
        {
            FrameOutcome gaveUp;
            lock (gate)
            {
                ThrowIfStoppedNeedsLock();
                // Nobody overtakes those who wait.
                if (waitingSends.Count == 0 && kept.TryAdd(body, time.GetTimestamp()))
                {
                    number = kept.LastNumber;
                    wake = WakeNeedsLock();
                    break;
                }

                number = 0;
                if (whenFull == WhenFull.Wait)
                    return false;
                gaveUp = DropOldestNeedsLock();
            }

            Report(gaveUp);
        }

        wake?.Set();
        return true;
    }

    /// <summary>Keeps a frame, and waits for room if need be; first come, first served.</summary>
    public ValueTask<ulong> AddAsync(ReadOnlyMemory<byte> body, CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
            return ValueTask.FromCanceled<ulong>(cancellation);
        return TryAdd(body.Span, out ulong number) ? new ValueTask<ulong>(number) : WaitToAddAsync(body, cancellation);
    }

    /// <summary>Ends when the outcome of every frame handed over so far is known and told.</summary>
    public async Task FlushAsync(CancellationToken cancellation)
    {
        WaitingFlush flush;
        lock (gate)
        {
            ThrowIfStoppedNeedsLock();
            flush = new WaitingFlush(kept.LastNumber);
            waitingFlushes.Add(flush);
            CompleteFlushesNeedsLock();
        }

        try
        {
            await flush.Task.WaitAsync(cancellation).ConfigureAwait(false);
        }
        finally
        {
            lock (gate)
                waitingFlushes.Remove(flush);
        }
    }

    /// <summary>Takes no further frame; whoever waits is told <paramref name="why"/>.</summary>
    public void Stop(Exception why)
    {
        lock (gate)
        {
            stopped ??= why;
            foreach (WaitingSend send in waitingSends)
                send.TrySetException(stopped);
            waitingSends.Clear();
            foreach (WaitingFlush flush in waitingFlushes)
                flush.TrySetException(stopped);
            waitingFlushes.Clear();
        }
    }

    public DeviceClientStatus Status(DeviceClientState state, long connects, TimeSpan? gatewayTimeOffset)
    {
        lock (gate)
        {
            return new DeviceClientStatus
            {
                State = state,
                Connects = connects,
                Accepted = (long)kept.LastNumber,
                Sent = sent,
                Repeated = repeated,
                Acknowledged = acknowledged,
                Refused = refused,
                Dropped = dropped,
                KeptFrames = kept.Count,
                KeptBytes = kept.Bytes,
                BootId = bootId,
                LastSafe = lastSafe,
                GatewayTimeOffset = gatewayTimeOffset,
            };
        }
    }

    private async ValueTask<ulong> WaitToAddAsync(ReadOnlyMemory<byte> body, CancellationToken cancellation)
    {
        var send = new WaitingSend(body);
        WakeSignal? wake;
        lock (gate)
        {
            ThrowIfStoppedNeedsLock();
            waitingSends.AddLast(send);
            // Room may have come since the first look.
            AdmitNeedsLock();
            wake = WakeNeedsLock();
        }

        wake?.Set();
        using (cancellation.UnsafeRegister(_ => Cancel(send, cancellation), null))
            return await send.Task.ConfigureAwait(false);
    }

    private void Cancel(WaitingSend send, CancellationToken cancellation)
    {
        WakeSignal? wake = null;
        lock (gate)
        {
            if (waitingSends.Remove(send))
            {
                send.TrySetCanceled(cancellation);
                // The next one may be smaller, and fit.
                AdmitNeedsLock();
                wake = WakeNeedsLock();
            }
        }

        wake?.Set();
    }

    private void AdmitNeedsLock()
    {
        while (waitingSends.First is { } first && kept.TryAdd(first.Value.Body.Span, time.GetTimestamp()))
        {
            waitingSends.RemoveFirst();
            first.Value.TrySetResult(kept.LastNumber);
        }
    }

    private FrameOutcome DropOldestNeedsLock()
    {
        FrameOutcome outcome = SettleOldestNeedsLock(FrameFate.Dropped);
        dropped++;
        AnnounceNeedsLock();
        return outcome;
    }

    private FrameOutcome SettleOldestNeedsLock(FrameFate fate)
    {
        kept.TryPeekOldest(out KeptFrame frame);
        FrameOutcome outcome = OutcomeNeedsLock(frame, kept.HeadSequence, fate);
        kept.RemoveOldest();
        return outcome;
    }

    private FrameOutcome OutcomeNeedsLock(
        in KeptFrame frame, ulong sequence, FrameFate fate, NackReason? reason = null, string text = "") =>
        new(
            frame.Number, bootId, sequence > uint.MaxValue ? 0 : (uint)sequence, fate,
            time.GetElapsedTime(frame.AcceptedAt), reason, text);

    // An outcome was made that is told once the gate is open: till then no flush is complete.
    private void AnnounceNeedsLock()
    {
        if (onOutcome is null)
            CompleteFlushesNeedsLock();
        else
            reportsRunning++;
    }

    private void Report(in FrameOutcome outcome)
    {
        if (onOutcome is null)
            return;
        Tell(outcome);
        EndReport();
    }

    private void Tell(in FrameOutcome outcome)
    {
        try
        {
            onOutcome!(outcome);
        }
        catch (Exception thrown)
        {
            // Wrapped, so that it is not taken for a fault of the line.
            throw new InvalidOperationException($"OnOutcome threw: {thrown.Message}", thrown);
        }
    }

    private void EndReport()
    {
        lock (gate)
        {
            reportsRunning--;
            CompleteFlushesNeedsLock();
        }
    }

    private void CompleteFlushesNeedsLock()
    {
        if (waitingFlushes.Count == 0 || reportsRunning > 0)
            return;
        ulong settledThrough = kept.TryPeekOldest(out KeptFrame oldest) ? oldest.Number - 1 : kept.LastNumber;
        foreach (WaitingFlush flush in waitingFlushes)
        {
            if (flush.Through <= settledThrough)
                flush.TrySetResult();
        }
    }

    // The writer is woken only for work: a hop to another thread for every frame, or every ACK, is what costs most.
    private WakeSignal? WakeNeedsLock()
    {
        bool isUsedUp = kept.HeadSequence > uint.MaxValue;
        return session is not null && (isUsedUp || (session.HasWindow && kept.HasNext)) ? session.Wake : null;
    }

    private void RequireFits(int bodyBytes)
    {
        if (bodyBytes > ProtocolConstants.BodyBytesMax || !kept.CanHold(bodyBytes))
            throw new ArgumentException($"a body of {bodyBytes} bytes is over the protocol's or the memory's limit");
    }

    private void ThrowIfStoppedNeedsLock()
    {
        if (stopped is not null)
            throw new InvalidOperationException(stopped.Message, stopped);
    }

    private static uint FreshBootId(uint old)
    {
        Span<byte> random = stackalloc byte[sizeof(uint)];
        uint fresh;
        do
        {
            RandomNumberGenerator.Fill(random);
            fresh = BinaryPrimitives.ReadUInt32LittleEndian(random);
        }
        while (fresh == 0 || fresh == old);
        return fresh;
    }
}
