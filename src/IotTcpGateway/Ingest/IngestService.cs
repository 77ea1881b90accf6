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
    private readonly RoomSignal room;
    private readonly List<Listener> listeners = [];
    private readonly CancellationTokenSource accepting = new();
    private readonly CancellationTokenSource running = new();
    private readonly TaskCompletionSource lastAcksSent = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task workers = Task.CompletedTask;
    private long sweptAt;

    public IngestService(
        DevicesOptions devices,
        RecordBuffer buffer,
        DeviceBoard board,
        CommandBoard commands,
        GatewayClock clock,
        TimeProvider time,
        Meter meter,
        Func<string, byte[]?> findKey,
        ILogger logger)
    {
        Metrics = new IngestMetrics(meter, () => Connections);
        room = new RoomSignal(buffer);
        context = new IngestContext
        {
            Buffer = buffer,
            Devices = new DeviceRegistry(devices, buffer, time),
            DevicesOptions = devices,
            Board = board,
            Commands = commands,
            Clock = clock,
            Time = time,
            Metrics = Metrics,
            Pump = new AckPump(),
            Logger = logger,
            FindKey = findKey,
        };
        buffer.Reopened += OnRoom;
    }

    public IngestMetrics Metrics { get; }

    /// <summary>Connections open now, handshakes included.</summary>
    public long Connections => listeners.Sum(l => l.Admission.Connections);

    /// <summary>Devices with a session.</summary>
    public int Sessions => context.Sessions;

    /// <summary>Where it listens, by listener name, with real ports.</summary>
    public IReadOnlyList<(string Name, IPEndPoint Endpoint)> Endpoints =>
        [.. listeners.Select(l => (l.Options.Name, l.Endpoint))];

    /// <summary>Whether its workers turn over: deadlines were looked at within the last seconds.</summary>
    public bool IsTurningOver =>
        !workers.IsCompleted && context.Time.GetElapsedTime(Volatile.Read(ref sweptAt)) < TimeSpan.FromSeconds(5);

    /// <summary>Binds every listener and begins to accept; throws SocketException if an endpoint cannot be used.</summary>
    public void Start(IEnumerable<ListenerOptions> options)
    {
        foreach (ListenerOptions one in options)
        {
            listeners.Add(new Listener(one, context, room, lastAcksSent.Task));
            LogListening(context.Logger, one.Name, listeners[^1].Endpoint);
        }

        Volatile.Write(ref sweptAt, context.Time.GetTimestamp());
        workers = Task.WhenAll(
        [
            .. listeners.Select(l => UntilStoppedAsync(() => l.AcceptAsync(accepting.Token))),
            UntilStoppedAsync(() => context.Pump.RunAsync(running.Token)),
            UntilStoppedAsync(SweepAsync),
        ]);
    }

    /// <summary>Completes when a worker failed; the gateway cannot go on then.</summary>
    public Task Completion => workers;

    /// <summary>Takes changed limits by listener name.</summary>
    public void Change(IEnumerable<ListenerOptions> options)
    {
        foreach (ListenerOptions changed in options)
            listeners.Find(l => l.Options.Name == changed.Name)?.Change(changed);
    }

    /// <summary>Takes a changed key file: sessions whose device has no key any more, or another, end at once.</summary>
    public void ChangeKeys(Func<string, byte[]?> findKey, Func<string, bool> isKeyUnchanged)
    {
        context.FindKey = findKey;
        foreach (Session session in listeners.SelectMany(l => l.Snapshot()))
        {
            bool hasKey = session.IsOpen && findKey(session.DeviceId) is not null;
            if (session.IsAuthenticated ? !isKeyUnchanged(session.DeviceId) : hasKey)
                session.Stop(SessionEnding.Revoked);
        }
    }

    /// <summary>First half of the end: accepts and reads no more; ACKs still flow.</summary>
    public void StopReading()
    {
        accepting.Cancel();
        foreach (Listener listener in listeners)
        {
            listener.Dispose();
            foreach (Session session in listener.Snapshot())
                session.Stop(SessionEnding.ShuttingDown);
        }
    }

    /// <summary>Second half: what is safe is acknowledged, then BYE, then the connections close.</summary>
    public async Task FinishAsync()
    {
        lastAcksSent.TrySetResult();
        long since = context.Time.GetTimestamp();
        while (Connections > 0 && context.Time.GetElapsedTime(since) < CloseLimit)
            await Task.Delay(TimeSpan.FromMilliseconds(10), context.Time).ConfigureAwait(false);
        await running.CancelAsync().ConfigureAwait(false);
        await workers.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        context.Buffer.Reopened -= OnRoom;
        accepting.Dispose();
        running.Dispose();
        foreach (Listener listener in listeners)
            listener.Dispose();
    }

    private static async Task UntilStoppedAsync(Func<Task> worker)
    {
        try
        {
            await worker().ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Told to stop.
        }
    }

    private async Task SweepAsync()
    {
        using var timer = new PeriodicTimer(SweepInterval, context.Time);
        long forgotAt = context.Time.GetTimestamp();
        while (await timer.WaitForNextTickAsync(running.Token).ConfigureAwait(false))
        {
            foreach (Listener listener in listeners)
            {
                foreach (Session session in listener.Snapshot())
                    session.Sweep();
            }

            Volatile.Write(ref sweptAt, context.Time.GetTimestamp());
            if (context.Time.GetElapsedTime(forgotAt) < ForgetInterval)
                continue;
            forgotAt = context.Time.GetTimestamp();
            context.Devices.ForgetUnseen();
        }
    }

    private void OnRoom()
    {
        room.Reopened();
        foreach (Session session in listeners.SelectMany(l => l.Snapshot()))
            session.WindowOpened();
    }

    [LoggerMessage(1220, LogLevel.Information, "listener {Listener} listens on {Endpoint}")]
    private static partial void LogListening(ILogger logger, string listener, IPEndPoint endpoint);
}
