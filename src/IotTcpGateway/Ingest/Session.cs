using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>
/// One connection of a device, from its first byte to its end. The read loop owns it; others may only ask it to stop.
/// An idle session holds no buffer.
/// </summary>
internal sealed partial class Session : IDisposable
{
    private static readonly TimeSpan LingerTime = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SendTimeout = TimeSpan.FromSeconds(30);

    private readonly Connection connection;
    private readonly Listener listener;
    private readonly IngestContext context;
    private readonly SessionOutbox outbox;
    private readonly TaskCompletionSource stoppedReading = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private State state = State.AwaitsHello;
    private OversizedFrame? oversized;
    private FrameTagger? fromDevice;
    private bool frameIsVerified;
    private bool tokenIsTaken;
    private bool hasReceived;
    private string deviceId = "";
    private string firmware = "";
    private Device? device;
    private DeviceStream? stream;
    private ChannelTable channels = ChannelTable.Empty;
    private Arrival arrival;

    private SessionEnding? stopRequested;
    private TaskCompletionSource? interrupt;
    private long deadline;
    private Expiry expiry;

    public Session(Connection connection, Listener listener, IngestContext context)
    {
        this.connection = connection;
        this.listener = listener;
        this.context = context;
        outbox = new SessionOutbox(connection, context.Pump, context.Time);
        SetDeadline(Expiry.Handshake, listener.Options.HandshakeTimeout);
    }

    private enum State
    {
        AwaitsHello,
        AwaitsAuth,
        AwaitsPlace,
        Open,
    }

    private enum Expiry
    {
        None,
        Handshake,
        Frame,
        Idle,
    }

    private enum Step
    {
        NeedMoreData,
        Taken,
        WaitForWindow,
        WaitForRoom,
        WaitForToken,
        WaitForDrain,
        WaitForPlace,
        End,
    }

    public IPAddress Address => connection.Address;

    public bool IsAuthenticated { get; private set; }

    public bool IsOpen => state == State.Open;

    public string DeviceId => deviceId;

    /// <summary>Runs the connection to its end. Never throws but for a defect.</summary>
    public async Task RunAsync()
    {
        SessionEnding ending;
        try
        {
            ending = await ReadLoopAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The network ended the connection, in one of the ways in which it does.
            ending = SessionEnding.Lost;
        }

        ending = Volatile.Read(ref stopRequested) ?? ending;
        SetDeadline(Expiry.None, default);
        stoppedReading.TrySetResult();
        if (ending == SessionEnding.ShuttingDown && IsOpen)
            await listener.LastAcksSent.ConfigureAwait(false);
        await CloseAsync(ending).ConfigureAwait(false);
    }

    /// <summary>Asks the session to end; the first reason counts.</summary>
    public void Stop(SessionEnding ending)
    {
        if (Interlocked.CompareExchange(ref stopRequested, ending, null) is not null)
            return;
        connection.StopReading();
        Volatile.Read(ref interrupt)?.TrySetResult();
    }

    /// <summary>Ends the session because a newer one speaks for its device; completes when it reads no more.</summary>
    public Task SupersedeAsync()
    {
        Stop(SessionEnding.Superseded);
        return stoppedReading.Task;
    }

    /// <summary>The buffer has room again.</summary>
    public void WindowOpened() => outbox.WindowOpened();

    /// <summary>Looks at the deadlines; called a few times a second.</summary>
    public void Sweep()
    {
        long sendingSince = outbox.SendingSince;
        if (sendingSince != 0 && context.Time.GetElapsedTime(sendingSince) > SendTimeout)
        {
            Stop(SessionEnding.SlowSend);
            connection.Dispose();
            return;
        }

        long due = Volatile.Read(ref deadline);
        if (due == 0 || context.Time.GetTimestamp() < due)
            return;
        Stop(expiry switch
        {
            Expiry.Idle => SessionEnding.Idle,
            Expiry.Frame => SessionEnding.FrameTimeout,
            _ => hasReceived ? SessionEnding.HandshakeTimeout : SessionEnding.SilentTimeout,
        });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        outbox.Dispose();
        fromDevice?.Dispose();
        connection.Dispose();
    }

    private async Task<SessionEnding> ReadLoopAsync()
    {
        byte[]? buffer = null;
        int filled = 0;
        try
        {
            while (true)
            {
                if (filled == 0)
                {
                    Return(ref buffer);
                    await connection.WaitToReadAsync().ConfigureAwait(false);
                }

                buffer ??= ArrayPool<byte>.Shared.Rent(
                    ProtocolConstants.FrameBytes((int)listener.Options.MaxBody, tagged: true));
                int received = await connection.ReceiveAsync(buffer.AsMemory(filled)).ConfigureAwait(false);
                if (Volatile.Read(ref stopRequested) is { } stop)
                    return stop;
                if (received == 0)
                    return SessionEnding.Lost;
                filled += received;
                Received(received);
                (int consumed, SessionEnding? ending) = await TakeFramesAsync(buffer, filled).ConfigureAwait(false);
                if (ending is not null)
                    return ending;
                filled -= consumed;
                buffer.AsSpan(consumed, filled).CopyTo(buffer);
                SetReadDeadline(filled > 0 || oversized is not null, consumed > 0);
            }
        }
        finally
        {
            Return(ref buffer);
        }
    }

    private static void Return(ref byte[]? buffer)
    {
        if (buffer is not null)
            ArrayPool<byte>.Shared.Return(buffer);
        buffer = null;
    }

    private void Received(int bytes)
    {
        hasReceived = true;
        context.Metrics.Received(bytes);
        arrival = context.Clock.Arrival();
    }

    private async ValueTask<(int Consumed, SessionEnding? Ending)> TakeFramesAsync(byte[] buffer, int filled)
    {
        int start = 0;
        while (true)
        {
            Step step = TakeFrame(buffer.AsSpan(start, filled - start), out int consumed, out object? detail);
            start += consumed;
            if (step == Step.NeedMoreData)
                return (start, null);
            if (step == Step.End)
                return (start, (SessionEnding)detail!);
            if (step == Step.Taken)
                continue;

            // While it does not read, no deadline runs but the handshake's.
            if (IsOpen)
                SetDeadline(Expiry.None, default);
            Task wait = step switch
            {
                Step.WaitForWindow => outbox.WaitForWindowAsync(),
                Step.WaitForRoom => listener.RoomAsync(),
                Step.WaitForToken => Task.Delay((TimeSpan)detail!, context.Time),
                Step.WaitForPlace => EnterAsync(),
                _ => outbox.DrainAsync(),
            };
            await InterruptiblyAsync(wait).ConfigureAwait(false);
            if (Volatile.Read(ref stopRequested) is { } stop)
                return (start, stop);
            if (step == Step.WaitForPlace && refusal is not null)
                return (start, refusal);
        }
    }

    private async Task InterruptiblyAsync(Task wait)
    {
        if (wait.IsCompleted)
        {
            await wait.ConfigureAwait(false);
            return;
        }

        var interrupted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Volatile.Write(ref interrupt, interrupted);
        if (Volatile.Read(ref stopRequested) is null)
            await Task.WhenAny(wait, interrupted.Task).ConfigureAwait(false);
        Volatile.Write(ref interrupt, null);
    }

    private void SetReadDeadline(bool isInFrame, bool hasAdvanced)
    {
        if (!IsOpen)
            return;
        // A frame's deadline runs from its first byte: trickling bytes do not move it.
        if (!isInFrame)
            SetDeadline(Expiry.Idle, listener.Options.IdleTimeout);
        else if (expiry != Expiry.Frame || hasAdvanced)
            SetDeadline(Expiry.Frame, listener.Options.FrameTimeout);
    }

    private void SetDeadline(Expiry what, TimeSpan after)
    {
        expiry = what;
        long due = what == Expiry.None
            ? 0
            : context.Time.GetTimestamp() + (long)(after.TotalSeconds * context.Time.TimestampFrequency);
        Volatile.Write(ref deadline, due);
    }

    private async Task CloseAsync(SessionEnding ending)
    {
        bool wasOpen = IsOpen;
        if (device is not null)
            LeaveDevice(ending, wasOpen);
        context.Metrics.ConnectionClosed(ending.Label);
        if (ending.IsMisbehaviour && listener.Admission.CountMisbehaviour(Address))
            LogAddressRefused(context.Logger, Address, ending.Label);
        SendLastFrame(ending, wasOpen);
        if (ending != SessionEnding.SlowSend)
            await LingerAsync().ConfigureAwait(false);
        Dispose();
        listener.Admission.Leave(Address, hasPlace);
    }

    private void SendLastFrame(SessionEnding ending, bool wasOpen)
    {
        if (wasOpen && ending.Bye is { } bye)
        {
            outbox.Send(FrameType.Bye, 0, [(byte)bye]);
        }
        else if (!wasOpen && ending.Refuse is { } reason)
        {
            context.Metrics.ConnectionRefused(ending.Label);
            Span<byte> body = stackalloc byte[256];
            int bytes = new Refuse
            {
                Reason = reason,
                RetryAfterSeconds = ending.RetryAfterSeconds,
                Text = Encoding.UTF8.GetBytes(ending.Text),
            }.WriteBody(body);
            outbox.Send(FrameType.Refuse, 0, body[..bytes]);
        }
    }

    // What the peer still sends is read for a moment, or the kernel would answer it with a reset that eats our last frame.
    private async Task LingerAsync()
    {
        using var limit = new CancellationTokenSource(LingerTime, context.Time);
        byte[] discard = ArrayPool<byte>.Shared.Rent(512);
        try
        {
            await outbox.DrainAsync().WaitAsync(limit.Token).ConfigureAwait(false);
            connection.HalfClose();
            while (await connection.ReceiveAsync(discard, limit.Token).ConfigureAwait(false) > 0)
            {
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The second is over, or the peer is gone: either way it ends here.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(discard);
        }
    }
}
