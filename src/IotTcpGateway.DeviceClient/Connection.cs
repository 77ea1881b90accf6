using System.Buffers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>A welcomed connection: one loop reads, one writes, one timer watches.</summary>
internal sealed partial class Connection : IDisposable
{
    /// <summary>Bytes that one send takes at the most: the largest frame fits.</summary>
    private const int OutputBytes = 16 * 1024 + 512;

    private static readonly TimeSpan closeTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan timerStep = TimeSpan.FromMilliseconds(1);

    private readonly Transport transport;
    private readonly ReceiveBuffer input;
    private readonly Custody custody;
    private readonly CommandWorker commands;
    private readonly TimeProvider time;
    private readonly TimeSpan idleTimeout;
    private readonly FrameTagger? fromDevice;
    private readonly FrameTagger? fromGateway;
    private readonly WakeSignal wake = new();
    private readonly Outbox outbox = new();
    private readonly Session session;
    private readonly CancellationTokenSource ended = new();
    private readonly Lock watchGate = new();
    private readonly ITimer watch;
    private readonly long opened;
    private ConnectionEnd? end;
    private long lastReceived;
    private long lastSent;
    private long lastPing;
    private long frameBegan;
    private uint pings;

    public Connection(
        Transport transport, ReceiveBuffer input, WelcomeTerms terms, Custody custody,
        CommandWorker commands, TimeProvider time)
    {
        this.transport = transport;
        this.input = input;
        this.custody = custody;
        this.commands = commands;
        this.time = time;
        idleTimeout = terms.IdleTimeout;
        if (terms.SessionKey is { } sessionKey)
        {
            fromDevice = new FrameTagger(sessionKey, FrameDirection.FromDevice);
            fromGateway = new FrameTagger(sessionKey, FrameDirection.FromGateway);
            CryptographicOperations.ZeroMemory(sessionKey);
        }

        session = new Session(wake, terms.Window, terms.LargestBody, fromDevice is not null);
        opened = lastReceived = lastSent = lastPing = time.GetTimestamp();
        watch = time.CreateTimer(
            static state => ((Connection)state!).OnTimer(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Whether the link was good for something, so that back-off begins anew.</summary>
    public bool HasHeld => session.HasProgress || time.GetElapsedTime(opened) >= BackOff.HeldAfter;

    /// <summary>Takes over from the handshake: false if the boot id turns out to be somebody else's.</summary>
    public bool TryOpen(uint lastSafe) => custody.TryOpen(session, lastSafe);

    /// <summary>Starts the clock; from here on it pings and gives up.</summary>
    public void StartWatch() => Watch();

    /// <summary>Reads and writes until an end; what the callbacks throw comes out here.</summary>
    public async Task<ConnectionEnd> RunAsync()
    {
        try
        {
            await Task.WhenAll(ReadAsync(), WriteAsync()).ConfigureAwait(false);
            return end!;
        }
        finally
        {
            custody.Close();
            await watch.DisposeAsync().ConfigureAwait(false);
            await ended.CancelAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Ends the connection. The first reason stands; with a BYE it is said first, for at most 1 s.</summary>
    public void End(ConnectionEnd reason, ByeReason? bye = null)
    {
        bool isFirst = Interlocked.CompareExchange(ref end, reason, null) is null;
        if (bye is not { } said)
        {
            Cut();
            return;
        }

        if (!isFirst)
            return;
        outbox.Add(FrameType.Bye, 0, new[] { (byte)said });
        lock (watchGate)
            watch.Change(closeTimeout, Timeout.InfiniteTimeSpan);
        wake.Set();
    }

    /// <summary>Describes channels, for the frames sent from now on.</summary>
    public void Describe(ChannelList channels)
    {
        foreach (byte[] body in channels.ToBodies(session.LargestBody))
            outbox.Add(FrameType.Describe, 0, body);
        wake.Set();
    }

    /// <summary>Answers a command; nothing happens when the connection has ended.</summary>
    public void SendResult(uint number, DeviceCommandReply reply)
    {
        const int BytesBeforePayload = 3;
        if (BytesBeforePayload + reply.Payload.Length > session.LargestBody)
            reply = DeviceCommandReply.Failed("the reply is larger than the gateway accepts");

        var body = new byte[BytesBeforePayload + reply.Payload.Length];
        new CommandResult { Status = reply.Status, Payload = reply.Payload.Span }.WriteBody(body);
        outbox.Add(FrameType.Result, number, body);
        wake.Set();
    }

    public void Dispose()
    {
        watch.Dispose();
        ended.Dispose();
        fromDevice?.Dispose();
        fromGateway?.Dispose();
        transport.Dispose();
    }

    private void Cut()
    {
        outbox.Clear();
        transport.Cut();
        wake.Set();
    }

    private async Task WriteAsync()
    {
        // Held only while there is something to send: thousands of quiet clients in one process share a few.
        byte[]? output = null;
        try
        {
            while (!outbox.IsDone)
            {
                output ??= ArrayPool<byte>.Shared.Rent(OutputBytes);
                int bytes = Fill(output.AsSpan(0, OutputBytes), out bool isLast);
                if (bytes == 0)
                {
                    ArrayPool<byte>.Shared.Return(output);
                    output = null;
                    await wake.WaitAsync().ConfigureAwait(false);
                    continue;
                }

                await transport.Stream.WriteAsync(output.AsMemory(0, bytes)).ConfigureAwait(false);
                Volatile.Write(ref lastSent, time.GetTimestamp());
                if (isLast)
                    await transport.EndSendingAsync().ConfigureAwait(false);
            }
        }
        catch (Exception lost) when (IsLoss(lost))
        {
            End(Endings.Lost(lost));
        }
        catch
        {
            // A callback threw: the other loop must not wait for ever.
            Cut();
            throw;
        }
        finally
        {
            if (output is not null)
                ArrayPool<byte>.Shared.Return(output);
        }
    }

    private int Fill(Span<byte> output, out bool isLast)
    {
        int bytes = outbox.Take(output, fromDevice, out bool dataMayFollow, out isLast);
        if (!dataMayFollow)
            return bytes;
        Span<byte> room = output[bytes..];
        FillResult filled = custody.Fill(session, room);
        Custody.Seal(room[..filled.Bytes], fromDevice);
        if (filled.IsUsedUp)
            End(Endings.UsedUp, ByeReason.Normal);
        return bytes + filled.Bytes;
    }

    private void OnTimer()
    {
        if (Volatile.Read(ref end) is null)
            Watch();
        else
            Cut();
    }

    private void Watch()
    {
        long began = Volatile.Read(ref frameBegan);
        (KeepAliveAction action, TimeSpan dueIn) = KeepAlive.Next(
            idleTimeout,
            time.GetElapsedTime(Volatile.Read(ref lastReceived)),
            time.GetElapsedTime(Volatile.Read(ref lastSent)),
            time.GetElapsedTime(Volatile.Read(ref lastPing)),
            began == 0 ? null : time.GetElapsedTime(began));
        switch (action)
        {
            case KeepAliveAction.EndSilent:
                End(Endings.Silent);
                return;
            case KeepAliveAction.EndTorn:
                End(Endings.Torn, ByeReason.ProtocolError);
                return;
            case KeepAliveAction.Ping:
                Volatile.Write(ref lastPing, time.GetTimestamp());
                outbox.Add(FrameType.Ping, Interlocked.Increment(ref pings), default);
                wake.Set();
                break;
        }

        // A close has set the timer to its own time, and keeps it.
        lock (watchGate)
        {
            if (Volatile.Read(ref end) is null)
                watch.Change(dueIn > timerStep ? dueIn : timerStep, Timeout.InfiniteTimeSpan);
        }
    }

    private static bool IsLoss(Exception thrown) =>
        thrown is IOException or SocketException or ObjectDisposedException or AuthenticationException;
}
