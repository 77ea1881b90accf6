using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Protocol;
using IotTcpGateway.Time;
using IotTcpGateway.Tls;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>One listening socket and its sessions.</summary>
internal sealed partial class Listener : IDisposable
{
    private const int Backlog = 512;

    // A connection that is refused at accept lingers for up to a second, so that the device can read why. So many at
    // once; more are closed without a word.
    private const int RefusingMax = 64;
    private static readonly TimeSpan AcceptPause = TimeSpan.FromSeconds(1);

    private readonly IngestContext context;
    private readonly Socket socket;
    private readonly Lock gate = new();
    private readonly HashSet<Session> sessions = [];
    private int refusing;
    private bool isStopping;
    private bool isPaused;
    private TaskCompletionSource? emptied;
    private HashSet<AuthenticationMode> modes;

    /// <summary>
    /// Binds; throws <see cref="SocketException"/> if the endpoint cannot be used, <see cref="TlsFileException"/> if a
    /// file cannot.
    /// </summary>
    public Listener(ListenerOptions options, IngestContext context)
    {
        Options = options;
        this.context = context;
        Admission = new Admission(options, context.Time);
        Log = new LogLimit(context.Time);
        Window = () => context.Buffer.WindowFor(Options.MaxWindow, context.Sessions);
        modes = ModesOf(options);
        Tls = options.Tls is null ? null : new ListenerTls(options, context, EndUncovered);
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
            Dispose();
            throw;
        }
    }

    public ListenerOptions Options { get; private set; }

    public Admission Admission { get; }

    /// <summary>Null: plain TCP.</summary>
    public ListenerTls? Tls { get; }

    /// <summary>Lets through what anybody on the network can bring about.</summary>
    public LogLimit Log { get; }

    /// <summary>Where it listens, with the real port.</summary>
    public IPEndPoint Endpoint => (IPEndPoint)socket.LocalEndPoint!;

    /// <summary>How many DATA frames one of its devices may have outstanding now.</summary>
    public Func<ushort> Window { get; }

    public bool Accepts(AuthenticationMode mode) => modes.Contains(mode);

    /// <summary>Takes changed limits, for the connections that come; the endpoint stays.</summary>
    public void Change(ListenerOptions options)
    {
        Options = options;
        modes = ModesOf(options);
        Admission.Change(options);
        Tls?.Change(options);
    }

    /// <summary>Accepts until told to stop; no accept error ends it but the loss of the listening socket.</summary>
    public async Task AcceptAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                Begin(await socket.AcceptAsync(stopping).ConfigureAwait(false));
                AcceptedAgain();
            }
            catch (SocketException e) when (AcceptErrors.Next(e.SocketErrorCode) == AfterAcceptError.AcceptNext)
            {
                // The peer went away between connect and accept.
            }
            catch (SocketException e) when (AcceptErrors.Next(e.SocketErrorCode) == AfterAcceptError.Pause)
            {
                if (!isPaused)
                    LogAcceptPaused(context.Logger, Options.Name, e.SocketErrorCode, AcceptPause.TotalSeconds);
                isPaused = true;
                await Task.Delay(AcceptPause, context.Time, stopping).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Adds the sessions, handshakes and refusals of now to a list.</summary>
    public void CopyTo(List<Session> all)
    {
        lock (gate)
            all.AddRange(sessions);
    }

    /// <summary>Takes no connection any more, and asks all to end.</summary>
    public void StopReading()
    {
        Session[] all;
        lock (gate)
        {
            isStopping = true;
            all = [.. sessions];
        }

        socket.Dispose();
        foreach (Session session in all)
            session.Stop(SessionEnding.ShuttingDown);
    }

    /// <summary>After <see cref="StopReading"/>: completes when the last connection is closed.</summary>
    public Task EmptiedAsync()
    {
        lock (gate)
        {
            if (sessions.Count == 0)
                return Task.CompletedTask;
            emptied ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return emptied.Task;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        socket.Dispose();
        Tls?.Dispose();
    }

    private static HashSet<AuthenticationMode> ModesOf(ListenerOptions options)
    {
        HashSet<AuthenticationMode> modes = [];
        if (options.Authentication.Contains("none"))
            modes.Add(AuthenticationMode.None);
        if (options.Authentication.Contains("hmac"))
            modes.Add(AuthenticationMode.Hmac);
        if (options.Authentication.Contains("certificate") && options.Tls?.ClientCa is not null)
            modes.Add(AuthenticationMode.Certificate);
        return modes;
    }

    private void AcceptedAgain()
    {
        if (!isPaused)
            return;
        isPaused = false;
        LogAcceptsAgain(context.Logger, Options.Name);
    }

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

        Place? place = Admission.TryEnter(connection.Address, out RefuseReason reason);
        SessionEnding refused = SessionEnding.At(reason);
        if (place is null && Tls is not null)
        {
            // No word can be said before TLS, and no TLS is done for whom is not let in.
            context.Metrics.ConnectionRefused(refused.Label);
            connection.Dispose();
            return;
        }

        var session = new Session(connection, this, context, place);
        place?.Holder = session;
        if (TryAdd(session, isRefused: place is null))
        {
            _ = RunAsync(session, place, refused);
            return;
        }

        session.Dispose();
        if (place is not null)
            Admission.Leave(place);
        else
            context.Metrics.ConnectionRefused(refused.Label);
    }

    // Newer files for TLS are in force.
    private void EndUncovered()
    {
        List<Session> all = [];
        CopyTo(all);
        foreach (Session session in all)
            session.EndIfUncovered();
    }

    private bool TryAdd(Session session, bool isRefused)
    {
        lock (gate)
        {
            if (isStopping || (isRefused && refusing == RefusingMax))
                return false;
            refusing += isRefused ? 1 : 0;
            return sessions.Add(session);
        }
    }

    // The owner of a session: whatever ends it, its place is given back. EmptiedAsync sees its end.
    private async Task RunAsync(Session session, Place? place, SessionEnding refused)
    {
        // What a device has sent already is not worked off on the accepting thread.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            await (place is not null ? session.RunAsync() : session.RefuseAsync(refused)).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // The top of a worker: one connection's defect must not end the others.
            LogSessionFailed(context.Logger, session.Address, e);
        }
        finally
        {
            if (place is not null)
                Admission.Leave(place);
            Remove(session, isRefused: place is null);
        }
    }

    private void Remove(Session session, bool isRefused)
    {
        TaskCompletionSource? last = null;
        lock (gate)
        {
            sessions.Remove(session);
            refusing -= isRefused ? 1 : 0;
            if (sessions.Count == 0)
                last = emptied;
        }

        last?.TrySetResult();
    }

    [LoggerMessage(1210, LogLevel.Error,
        "listener {Listener} cannot accept ({Error}): trying again every {Seconds} s; "
        + "raise LimitNOFILE or lower maxConnections")]
    private static partial void LogAcceptPaused(ILogger logger, string listener, SocketError error, double seconds);

    [LoggerMessage(1212, LogLevel.Error,
        "a connection of {Address} could not be closed in order by a defect: please report this")]
    private static partial void LogSessionFailed(ILogger logger, IPAddress address, Exception exception);

    [LoggerMessage(1213, LogLevel.Information, "listener {Listener} accepts again")]
    private static partial void LogAcceptsAgain(ILogger logger, string listener);
}
