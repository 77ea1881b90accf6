using System.Buffers;
using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Buffer;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>
/// One connection of a device, from its first byte to its end. The read loop owns it; others may only ask it to stop.
/// An idle session holds no buffer.
/// </summary>
internal sealed partial class Session : IDisposable
{
    private static readonly TimeSpan SendTimeout = TimeSpan.FromSeconds(30);

    private readonly Connection connection;
    private readonly Listener listener;
    private readonly IngestContext context;
    private readonly SessionOutbox outbox;

    // Null if it was not let in.
    private readonly Place? place;

    // As they were when the connection came: WELCOME tells some of them, and what was told holds.
    private readonly ListenerOptions limits;

    // Not disposed: it has neither a timer nor a handle, and whoever cancels it may come late.
    private readonly CancellationTokenSource stopping = new();
    private readonly TaskCompletionSource stoppedReading = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long handshakeDue;

    private volatile State state = State.AwaitsHello;
    private OversizedFrame? oversized;
    private FrameTagger? fromDevice;
    private bool frameIsVerified;
    private bool tokenIsTaken;
    private bool frameIsCounted;
    private bool frameEnded;
    private bool hasReceived;
    private string deviceId = "";
    private string firmware = "";
    private Device? device;
    private DeviceStream? stream;
    private ChannelTable channels = ChannelTable.Empty;
    private DevicePermissions permissions = DevicePermissions.Unlimited;
    private ChannelPermit? channelPermit;
    private Arrival arrival;
    private SessionEnding ending = SessionEnding.Lost;
    private TimeSpan tokenDue;

    private SessionEnding? stopRequested;
    private long frameDue;
    private long deadline;

    public Session(Connection connection, Listener listener, IngestContext context, Place? place)
    {
        this.place = place;
        this.connection = connection;
        this.listener = listener;
        this.context = context;
        limits = listener.Options;
        isSecured = listener.Tls is null;
        outbox = new SessionOutbox(
            connection, context.Buffer, context.Pump, context.Time, () => Stop(SessionEnding.Lost));
        handshakeDue = After(limits.HandshakeTimeout);
        SetDeadline(Expiry.Handshake, handshakeDue);
    }

    private enum State
    {
        AwaitsHello,
        AwaitsAuth,
        AwaitsPlace,
        Open,
    }

    // Fits the two lowest bits of a deadline.
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

    public bool IsOn(Listener other) => listener == other;

    /// <summary>Runs the connection to its end.</summary>
    public async Task RunAsync()
    {
        SessionEnding ended;
        try
        {
            ended = await SecureAsync().ConfigureAwait(false) ?? await ReadLoopAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The network ended the connection, in one of the ways in which it does, or it was told to stop.
            ended = SessionEnding.Lost;
        }
        catch (Exception e)
        {
            // The top of a worker: one connection's defect must end neither the others nor its own orderly close.
            LogDefect(context.Logger, Address, e);
            ended = SessionEnding.Defect;
        }

        ended = Volatile.Read(ref stopRequested) ?? ended;
        SetDeadline(Expiry.None, 0);
        stoppedReading.TrySetResult();
        if (ended == SessionEnding.ShuttingDown && IsOpen)
            await context.LastAcks.Task.ConfigureAwait(false);
        await CloseAsync(ended).ConfigureAwait(false);
    }

    /// <summary>Asks the session to end; the first reason counts.</summary>
    public void Stop(SessionEnding reason)
    {
        if (Interlocked.CompareExchange(ref stopRequested, reason, null) is null)
            stopping.Cancel();
    }

    /// <summary>Ends the session because a newer one speaks for its device; completes when it reads no more.</summary>
    public Task SupersedeAsync()
    {
        Stop(SessionEnding.Superseded);
        return stoppedReading.Task;
    }

    /// <summary>Ends the session without regard to what it still has to say.</summary>
    public void Abort()
    {
        Stop(SessionEnding.Aborted);
        connection.Dispose();
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

        ExpireCommands();
        long due = Volatile.Read(ref deadline);
        var what = (Expiry)(due & 3);
        if (what == Expiry.None || context.Time.GetTimestamp() < due)
            return;
        Stop(what switch
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
                    await connection.WaitToReadAsync(stopping.Token).ConfigureAwait(false);
                }

                MakeRoom(ref buffer, filled);
                int received = await connection.ReceiveAsync(buffer.AsMemory(filled), stopping.Token)
                    .ConfigureAwait(false);
                if (received == 0)
                    return SessionEnding.Lost;
                filled += received;
                Received(received);
                int consumed = await TakeFramesAsync(buffer!, filled).ConfigureAwait(false);
                if (consumed < 0)
                    return ending;
                filled -= consumed;
                buffer.AsSpan(consumed, filled).CopyTo(buffer);
                SetReadDeadline(isInFrame: filled > 0 || oversized is not null);
            }
        }
        finally
        {
            Return(ref buffer);
        }
    }

    // Before WELCOME frames are small, so that whoever did not authenticate cannot make us hold much.
    private void MakeRoom(ref byte[]? buffer, int filled)
    {
        int needed = ProtocolConstants.FrameBytes(
            IsOpen ? (int)limits.MaxBody : ProtocolConstants.ControlBodyBytesMax, tagged: true);
        if (buffer?.Length >= needed)
            return;
        byte[] larger = ArrayPool<byte>.Shared.Rent(needed);
        buffer?.AsSpan(0, filled).CopyTo(larger);
        Return(ref buffer);
        buffer = larger;
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

    // Returns the bytes consumed; less than 0 if the session is to end.
    private async ValueTask<int> TakeFramesAsync(byte[] buffer, int filled)
    {
        int start = 0;
        while (true)
        {
            Step step = TakeFrame(buffer.AsSpan(start, filled - start), out int consumed);
            start += consumed;
            if (step == Step.NeedMoreData)
                return start;
            if (step == Step.End)
                return -1;
            if (step == Step.Taken)
                frameEnded = true;
            else if (!await WaitAsync(step).ConfigureAwait(false))
                return -1;
        }
    }

    // Returns false if the session is to end.
    private async ValueTask<bool> WaitAsync(Step step)
    {
        if (step == Step.WaitForPlace)
            return await EnterAsync().ConfigureAwait(false);

        // Time in which it does not read does not count, neither for the idle nor for a frame's deadline.
        SetDeadline(Expiry.None, 0);
        frameDue = 0;
        Task wait = step switch
        {
            Step.WaitForWindow => outbox.WaitForWindowAsync(),
            Step.WaitForRoom => context.Buffer.RoomAsync(),
            Step.WaitForToken => Task.Delay(tokenDue, context.Time, stopping.Token),
            _ => outbox.DrainAsync(),
        };
        await wait.WaitAsync(stopping.Token).ConfigureAwait(false);
        ending = SessionEnding.Lost;
        return !outbox.IsBroken;
    }

    private void SetReadDeadline(bool isInFrame)
    {
        // A frame's deadline runs from its first byte: trickling bytes do not move it.
        if (!isInFrame)
            frameDue = 0;
        else if (frameEnded || frameDue == 0)
            frameDue = After(limits.FrameTimeout);
        frameEnded = false;
        if (frameDue != 0 && (IsOpen || frameDue < handshakeDue))
            SetDeadline(Expiry.Frame, frameDue);
        else if (IsOpen)
            SetDeadline(Expiry.Idle, After(limits.IdleTimeout));
        else
            SetDeadline(Expiry.Handshake, handshakeDue);
    }

    private long After(TimeSpan time) =>
        context.Time.GetTimestamp() + (long)(time.TotalSeconds * context.Time.TimestampFrequency);

    // Moment and meaning in one, so that the sweep never sees the one of now with the other of before.
    private void SetDeadline(Expiry what, long due) =>
        Volatile.Write(ref deadline, what == Expiry.None ? 0 : (due & ~3L) | (long)what);

    [LoggerMessage(1211, LogLevel.Error, "a session of {Address} ended by a defect: please report this")]
    private static partial void LogDefect(ILogger logger, IPAddress address, Exception exception);
}
