using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

using IotTcpGateway.Protocol;

using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>One listening socket and its sessions.</summary>
internal sealed partial class Listener : IDisposable
{
    private const int Backlog = 512;
    private static readonly TimeSpan AcceptPause = TimeSpan.FromSeconds(1);

    private readonly IngestContext context;
    private readonly RoomSignal room;
    private readonly Task lastAcksSent;
    private readonly Socket socket;
    private readonly Lock gate = new();
    private readonly HashSet<Session> sessions = [];
    private HashSet<AuthenticationMode> modes;
    private uint commandNumber = BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(sizeof(uint)));

    /// <summary>Binds; throws <see cref="SocketException"/> if the endpoint cannot be used.</summary>
    public Listener(ListenerOptions options, IngestContext context, RoomSignal room, Task lastAcksSent)
    {
        Options = options;
        this.context = context;
        this.room = room;
        this.lastAcksSent = lastAcksSent;
        Admission = new Admission(options, context.Time);
        AuthenticationLog = new LogLimit(context.Time);
        modes = ModesOf(options);
        IPEndPoint endpoint = options.ParsedEndpoint;
        socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            // "[::]" takes IPv4 as well, unless a listener of its own has that.
            if (endpoint.Address.Equals(IPAddress.IPv6Any))
                socket.DualMode = true;
            socket.Bind(endpoint);
            socket.Listen(Backlog);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    public ListenerOptions Options { get; private set; }

    public Admission Admission { get; }

    public LogLimit AuthenticationLog { get; }

    /// <summary>Where it listens, with the real port.</summary>
    public IPEndPoint Endpoint => (IPEndPoint)socket.LocalEndPoint!;

    /// <summary>Completes when, at shutdown, nothing more will become safe.</summary>
    public Task LastAcksSent => lastAcksSent;

    public bool Accepts(AuthenticationMode mode) => modes.Contains(mode);

    public Task RoomAsync() => room.WaitAsync();

    public ushort Window() => context.Buffer.WindowFor(Options.MaxWindow, context.Sessions);

    public uint NextCommandNumber()
    {
        uint number;
        do
        {
            number = Interlocked.Increment(ref commandNumber);
        }
        while (number == 0);
        return number;
    }

    /// <summary>Takes changed limits; the endpoint stays.</summary>
    public void Change(ListenerOptions options)
    {
        Options = options;
        modes = ModesOf(options);
        Admission.Change(options);
    }

    /// <summary>Accepts until told to stop; no accept error ends it.</summary>
    public async Task AcceptAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                Socket accepted = await socket.AcceptAsync(stopping).ConfigureAwait(false);
                Begin(accepted);
            }
            catch (SocketException e) when (IsOfThePeer(e.SocketErrorCode))
            {
                // The peer went away between connect and accept: the next one, please.
            }
            catch (SocketException e)
            {
                // No descriptors or no memory: accepting again at once would spin. Those who are here go on.
                LogAcceptPaused(context.Logger, Options.Name, e.SocketErrorCode, AcceptPause.TotalSeconds);
                await Task.Delay(AcceptPause, context.Time, stopping).ConfigureAwait(false);
            }
        }
    }

    /// <summary>The sessions and handshakes of now.</summary>
    public Session[] Snapshot()
    {
        lock (gate)
            return [.. sessions];
    }

    /// <inheritdoc/>
    public void Dispose() => socket.Dispose();

    private static HashSet<AuthenticationMode> ModesOf(ListenerOptions options) =>
        [.. options.Authentication.Select(word => word == "none" ? AuthenticationMode.None : AuthenticationMode.Hmac)];

    private static bool IsOfThePeer(SocketError error) => error is SocketError.ConnectionAborted
        or SocketError.ConnectionReset or SocketError.TimedOut or SocketError.HostUnreachable
        or SocketError.NetworkUnreachable or SocketError.NetworkDown or SocketError.HostDown or SocketError.Interrupted;

    private void Begin(Socket accepted)
    {
        Connection connection;
        try
        {
            accepted.NoDelay = true;
            connection = new Connection(accepted);
        }
        catch (SocketException)
        {
            // It was reset before we asked for its address.
            accepted.Dispose();
            return;
        }

        if (Admission.TryEnter(connection.Address) is { } reason)
        {
            Refuse(accepted, connection, reason);
            return;
        }

        var session = new Session(connection, this, context);
        lock (gate)
            sessions.Add(session);
        _ = RunAsync(session);
    }

    // The owner of a session's task: whatever ends it, the place is given back and a defect is logged, not swallowed.
    private async Task RunAsync(Session session)
    {
        try
        {
            await session.RunAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // The top of a worker: one connection's defect must not end the others.
            LogSessionFailed(context.Logger, session.Address, e);
        }
        finally
        {
            lock (gate)
                sessions.Remove(session);
        }
    }

    private void Refuse(Socket accepted, Connection connection, RefuseReason reason)
    {
        (string label, ushort retryAfter) = reason switch
        {
            RefuseReason.AddressNotAllowed => ("address-not-allowed", (ushort)3600),
            RefuseReason.RateLimited => ("rate-limited", (ushort)60),
            _ => ("too-many-connections", (ushort)1),
        };
        context.Metrics.ConnectionRefused(label);
        Span<byte> frame = stackalloc byte[128];
        Span<byte> body = stackalloc byte[64];
        int bytes = new Refuse
        {
            Reason = reason,
            RetryAfterSeconds = retryAfter,
            Text = System.Text.Encoding.ASCII.GetBytes(label.Replace('-', ' ')),
        }.WriteBody(body);
        bytes = FrameWriter.Write(frame, FrameType.Refuse, 0, body[..bytes]);
        try
        {
            // A fresh socket has room for these few bytes. The close is abrupt if the peer has sent some already: an
            // address that is refused before a byte was read gets no place to linger in.
            accepted.Blocking = false;
            accepted.Send(frame[..bytes]);
            connection.HalfClose();
        }
        catch (SocketException)
        {
            // It is gone, as it was to be.
        }

        connection.Dispose();
    }

    [LoggerMessage(1210, LogLevel.Error,
        "listener {Listener} cannot accept ({Error}): pausing {Seconds} s; raise LimitNOFILE or lower maxConnections")]
    private static partial void LogAcceptPaused(ILogger logger, string listener, SocketError error, double seconds);

    [LoggerMessage(1211, LogLevel.Error, "a session of {Address} ended by a defect: please report this")]
    private static partial void LogSessionFailed(ILogger logger, IPAddress address, Exception exception);
}
