using System.Diagnostics.Metrics;
using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>The listeners with everything that sessions share, from binding to the last BYE.</summary>
internal sealed partial class IngestService : IDisposable
{
    private static readonly TimeSpan SweepInterval = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan ForgetInterval = TimeSpan.FromHours(1);
    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(2);

    private readonly IngestContext context;
    private readonly CancellationTokenSource accepting = new();
    private readonly CancellationTokenSource running = new();
    private Listener[] listeners = [];
    private Task[] workers = [];
    private long sweptAt;

    public IngestService(
        DevicesOptions devices,
        RecordBuffer buffer,
        DeviceBoard board,
        CommandBoard commands,
        GatewayClock clock,
        TimeProvider time,
        Meter meter,
        KnownDevices known,
        ILogger logger)
    {
        Metrics = new IngestMetrics(meter, () => Connections, () => PendingDevices().Count, CertificateExpiries);
        context = new IngestContext
        {
            Buffer = buffer,
            Devices = new DeviceRegistry(devices, known, buffer, time),
            DevicesOptions = devices,
            Board = board,
            Commands = commands,
            Clock = clock,
            Time = time,
            Metrics = Metrics,
            Pump = new AckPump(),
            Logger = logger,
            FindDevice = known.Find,
            Attempts = new AttemptLimit(time),
            Pending = devices.Enrolment ? new PendingDevices(time) : null,
        };
        buffer.Reopened += OnReopened;
    }

    public IngestMetrics Metrics { get; }

    /// <summary>Connections open now, handshakes included.</summary>
    public long Connections => listeners.Sum(l => l.Admission.Connections);

    /// <summary>Devices with a session.</summary>
    public int Sessions => context.Sessions;

    /// <summary>The devices that came since the start.</summary>
    public IReadOnlyList<DeviceSighting> SeenDevices() => context.Devices.Seen();

    /// <summary>The devices that wait for approval.</summary>
    public IReadOnlyList<PendingDevice> PendingDevices() => context.Pending?.All ?? [];

    /// <summary>Where it listens, by listener name, with real ports.</summary>
    public IReadOnlyList<(string Name, IPEndPoint Endpoint)> Endpoints =>
        [.. listeners.Select(l => (l.Options.Name, l.Endpoint))];

    /// <summary>Whether its workers turn over: deadlines were looked at within the last seconds.</summary>
    public bool IsTurningOver =>
        !Completion.IsCompleted && context.Time.GetElapsedTime(Volatile.Read(ref sweptAt)) < TimeSpan.FromSeconds(5);

    /// <summary>Fails as soon as a worker does, for the gateway cannot go on then; else completes at the end.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>
    /// Binds every listener and begins to accept; throws SocketException if an endpoint cannot be used, IOException if a
    /// file for TLS cannot.
    /// </summary>
    public void Start(IEnumerable<ListenerOptions> options)
    {
        foreach (ListenerOptions one in options)
        {
            // One by one, so that Dispose closes those that are bound when a later one fails.
            listeners = [.. listeners, new Listener(one, context)];
            LogListening(context.Logger, one.Name, listeners[^1].Endpoint);
        }

        Volatile.Write(ref sweptAt, context.Time.GetTimestamp());
        workers =
        [
            .. listeners.Select(l => UntilStoppedAsync(l.AcceptAsync, accepting.Token)),
            UntilStoppedAsync(context.Pump.RunAsync, running.Token),
            UntilStoppedAsync(SweepAsync, running.Token),
        ];
        Completion = FirstFailureAsync([.. workers]);
    }

    /// <summary>Remembers what was safe before the start; before anybody connects.</summary>
    public void Restore(IEnumerable<CustodyEntry> custody)
    {
        foreach (CustodyEntry entry in custody)
            context.Devices.Restore(entry);
    }

    /// <summary>Takes changed limits by listener name.</summary>
    public void Change(IEnumerable<ListenerOptions> options)
    {
        foreach (ListenerOptions changed in options)
            Array.Find(listeners, l => l.Options.Name == changed.Name)?.Change(changed);
    }

    /// <summary>
    /// The key file says something else of these devices now: their sessions go on under that, or end at once.
    /// </summary>
    public void KnownChanged(IReadOnlySet<string> deviceIds)
    {
        foreach (string deviceId in deviceIds)
            context.Pending?.Remove(deviceId);
        context.Devices.KnownChanged(deviceIds);
        // A session that opens at this moment looks at the file after it is seen to be open.
        Interlocked.MemoryBarrier();
        bool isKnown = context.FindDevice("") is null;
        foreach (Session session in AllSessions())
        {
            // While the file is damaged it is all devices, also those that it never spoke of.
            if (session.IsOpen && (!isKnown || deviceIds.Contains(session.DeviceId)))
                session.KnownChanged(context.FindDevice(session.DeviceId));
        }
    }

    /// <summary>First half of the end: accepts and reads no more; ACKs still flow.</summary>
    public void StopReading()
    {
        accepting.Cancel();
        foreach (Listener listener in listeners)
            listener.StopReading();
    }

    /// <summary>
    /// Second half: what is safe is acknowledged, then BYE, then the connections close; those that do not within two
    /// seconds are closed hard. Nothing runs on afterwards.
    /// </summary>
    public async Task FinishAsync()
    {
        StopReading();
        context.LastAcks.TrySetResult();
        var closed = Task.WhenAll(listeners.Select(l => l.EmptiedAsync()));
        using (var limit = new CancellationTokenSource(CloseLimit, context.Time))
        {
            await closed.WaitAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        foreach (Session session in AllSessions())
            session.Abort();
        await closed.ConfigureAwait(false);
        await running.CancelAsync().ConfigureAwait(false);
        // A failure is for those to see who await Completion.
        await Task.WhenAll(workers).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Completion.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        context.Buffer.Reopened -= OnReopened;
        foreach (Listener listener in listeners)
            listener.Dispose();
        accepting.Dispose();
        running.Dispose();
    }

    private static async Task UntilStoppedAsync(Func<CancellationToken, Task> worker, CancellationToken stopping)
    {
        try
        {
            await worker(stopping).ConfigureAwait(false);
        }
        catch (Exception e) when (stopping.IsCancellationRequested
            && e is (OperationCanceledException or ObjectDisposedException or System.Net.Sockets.SocketException))
        {
            // Told to stop.
        }
    }

    private static async Task FirstFailureAsync(List<Task> running)
    {
        while (running.Count > 0)
        {
            Task ended = await Task.WhenAny(running).ConfigureAwait(false);
            running.Remove(ended);
            await ended.ConfigureAwait(false);
        }
    }

    private IEnumerable<Measurement<long>> CertificateExpiries() => listeners.Where(l => l.Tls is not null).Select(
        l => new Measurement<long>(
            (long)(l.Tls!.Current.NotAfter - context.Time.GetUtcNow()).TotalSeconds,
            new KeyValuePair<string, object?>("listener", l.Options.Name)));

    private List<Session> AllSessions()
    {
        List<Session> all = [];
        foreach (Listener listener in listeners)
            listener.CopyTo(all);
        return all;
    }

    private async Task SweepAsync(CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(SweepInterval, context.Time);
        long forgotAt = context.Time.GetTimestamp();
        List<Session> all = [];
        while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false))
        {
            foreach (Listener listener in listeners)
                listener.CopyTo(all);
            foreach (Session session in all)
                session.Sweep();
            all.Clear();
            Volatile.Write(ref sweptAt, context.Time.GetTimestamp());
            if (context.Time.GetElapsedTime(forgotAt) < ForgetInterval)
                continue;
            forgotAt = context.Time.GetTimestamp();
            foreach (string deviceId in context.Devices.ForgetUnseen(id => context.FindDevice(id) is not null))
                context.Board.Forget(deviceId);
        }
    }

    private void OnReopened()
    {
        foreach (Session session in AllSessions())
            session.WindowOpened();
    }

    [LoggerMessage(1220, LogLevel.Information, "listener {Listener} listens on {Endpoint}")]
    private static partial void LogListening(ILogger logger, string listener, IPEndPoint endpoint);
}
