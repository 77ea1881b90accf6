using System.Diagnostics.Metrics;
using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Configuration;
using IotTcpGateway.Escaping;
using IotTcpGateway.Forward;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway;

/// <summary>The gateway as a whole: its parts put together, started sinks before sources, stopped the other way round.</summary>
internal sealed partial class Gateway : IAsyncDisposable
{
    // What the broker does not confirm in this time at the end goes to disk.
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan DrainLimitWithoutDisk = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan FlushLimit = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(1);

    private readonly TimeProvider time;
    private readonly ILogger logger;
    private readonly Meter meter = new("iotgw");
    private readonly MetricsRegistry metrics;
    private readonly LatencyWindow latency;
    private readonly GatewayClock clock;
    private readonly RecordBuffer buffer;
    private readonly DropLedger ledger;
    private readonly BufferStore? store;
    private readonly DeviceBoard board = new();
    private readonly KeyRing keys;
    private readonly Forwarder forwarder;
    private readonly IngestService ingest;
    private readonly long startedAt;
    private GatewayConfiguration configuration;
    private bool isListening;

    public Gateway(GatewayConfiguration configuration, TimeProvider time, Func<bool> isClockSynchronised, ILogger logger)
    {
        this.configuration = configuration;
        this.time = time;
        this.logger = logger;
        startedAt = time.GetTimestamp();
        metrics = new MetricsRegistry(meter);
        latency = new LatencyWindow(() => metrics.HistogramOf("iotgw_frame_safe_seconds"), time);
        var commands = new CommandBoard();
        meter.CreateObservableCounter(
            "iotgw_command_answers_dropped_total",
            () => commands.AnswersDropped,
            null,
            "Answers to commands given up because too many waited for the broker.");
        clock = new GatewayClock(time, configuration.Gateway.TrustClock ? () => true : isClockSynchronised);
        ledger = new DropLedger(time, () => clock.IsSynchronised ? clock.UnixMilliseconds : 0);
        buffer = new RecordBuffer(configuration.Buffer, time, meter) { GivenUp = ledger.Add };
        if (configuration.Buffer.Disk > 0)
            store = CreateStore(configuration);
        keys = new KeyRing(configuration.Devices.File, time, logger);
        forwarder = new Forwarder(
            configuration.Mqtt, configuration.Gateway.Id, ProductVersion.Text, buffer, board, commands, clock, time, meter, logger,
            ledger: ledger, drainRate: configuration.Buffer.DrainRate, disk: () => Disk);
        ingest = new IngestService(
            configuration.Devices, buffer, board, commands, clock, time, meter, new KnownDevices(keys.Find, () => keys.Count), logger);
        keys.Changed += ingest.KnownChanged;
        Health = new GatewayHealth(metrics, Status, Devices, () => ingest.IsTurningOver && forwarder.IsTurningOver);
    }

    public GatewayHealth Health { get; }

    /// <summary>Completes when a worker has failed: the gateway cannot go on then.</summary>
    public Task Completion => Task.WhenAny(
    [
        ingest.Completion,
        .. configuration.Mqtt.Brokers.Count > 0 ? [forwarder.Completion] : Array.Empty<Task>(),
        .. store is not null ? [store.Completion] : Array.Empty<Task>(),
    ]).Unwrap();

    private DiskStatus Disk => store?.Status ?? DiskStatus.Off;

    /// <summary>Where it listens, by listener name, with real ports.</summary>
    public IReadOnlyList<(string Name, IPEndPoint Endpoint)> Endpoints => ingest.Endpoints;

    /// <summary>Begins to forward, then to listen.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">An endpoint cannot be used.</exception>
    /// <exception cref="IOException">The buffer's directory cannot be used.</exception>
    public void Start()
    {
        keys.Start();
        if (store is not null)
        {
            ingest.Restore(store.Open());
            store.Start();
        }

        forwarder.Start();
        ingest.Start(configuration.Listeners);
        isListening = true;
    }

    /// <summary>
    /// Reads and accepts no more, waits for the broker's last confirmations, puts the rest on disk, tells devices and
    /// broker goodbye.
    /// </summary>
    public async Task StopAsync(Action<string> say)
    {
        isListening = false;
        ingest.StopReading();
        say($"stopping: {buffer.Records} frames wait for the broker");
        await forwarder.DrainAsync(store is null ? DrainLimitWithoutDisk : DrainLimit).ConfigureAwait(false);
        if (store is not null && buffer.Records > 0)
        {
            say($"stopping: {buffer.Records} frames go to disk");
            await store.FlushAsync(FlushLimit).ConfigureAwait(false);
        }

        if (buffer.Records - Disk.Records is > 0 and long unsafeRecords)
            LogLeftBehind(logger, unsafeRecords);
        say("stopping: last ACKs");
        await ingest.FinishAsync().ConfigureAwait(false);
        say("stopping: offline statuses");
        await forwarder.StopAsync().ConfigureAwait(false);
        if (store is not null)
            await store.StopAsync(CloseLimit).ConfigureAwait(false);
    }

    /// <summary>Takes what of a new configuration can be taken now; says what cannot.</summary>
    public void Reload(GatewayConfiguration changed)
    {
        keys.Reload(force: true);
        ConfigurationChange change = ConfigurationChange.Between(configuration, changed);
        List<ListenerOptions> listeners = ConfigurationChange.Reloaded(configuration.Listeners, changed.Listeners);
        ingest.Change(listeners);
        foreach (string path in change.Reloadable)
            LogReloaded(logger, path);
        foreach (string path in change.NeedsRestart)
            LogNeedsRestart(logger, path);
        configuration.Listeners = listeners;
        configuration.Log = changed.Log;
    }

    /// <summary>What it says of itself now.</summary>
    public GatewayStatus Status()
    {
        ForwarderStatus link = forwarder.Status;
        return new GatewayStatus
        {
            Gateway = configuration.Gateway.Id,
            Version = ProductVersion.Text,
            UptimeSeconds = Math.Round(time.GetElapsedTime(startedAt).TotalSeconds, 1),
            IsReady = isListening && !buffer.IsFull,
            IsClockSynchronised = clock.IsSynchronised,
            Listeners = [.. Endpoints.Select(e => new ListenerStatus(e.Name, e.Endpoint.ToString()))],
            Devices = new DevicesStatus(
                ingest.Connections, ingest.Sessions, keys.Count, keys.IsReadable, ingest.Metrics.AuthenticationFailures),
            Frames = new FramesStatus(
                ingest.Metrics.FramesReceived,
                ingest.Metrics.Duplicates,
                ingest.Metrics.FramesRejected,
                ingest.Metrics.Gaps,
                latency.Read()),
            Buffer = new BufferStatus(
                buffer.Records,
                buffer.DroppedRecords,
                buffer.MemoryBytes,
                buffer.MemoryBytesMax,
                buffer.IsFull,
                StatusOf(Disk),
                [.. ledger.Latest.Select(StatusOf)]),
            Broker = new BrokerStatus(
                link.IsConnected, link.Broker, link.Version, link.InFlight, link.Published, link.Reconnects, link.LastFailure),
            ResidentMebibytes = Math.Round(Environment.WorkingSet / 1048576.0, 1),
        };
    }

    private DevicesReport Devices() => new(
        [.. ingest.SeenDevices().Select(d => new SeenDevice(
            d.DeviceId, d.IsOnline, Word(d.Mode), d.Address, SafeText.Clean(d.Firmware), SecondsSince(d.LastAt)))],
        [.. ingest.PendingDevices().Select(d => new WaitingDevice(
            d.DeviceId, Word(d.Mode), d.Address.ToString(), SafeText.Clean(d.Firmware), d.Times, SecondsSince(d.LastAt)))]);

    private double SecondsSince(long timestamp) => Math.Round(time.GetElapsedTime(timestamp).TotalSeconds, 1);

    private static string Word(AuthenticationMode mode) => mode.ToString().ToLowerInvariant();

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        ingest.Dispose();
        forwarder.Dispose();
        keys.Dispose();
        store?.Dispose();
        ledger.Dispose();
        buffer.Dispose();
        metrics.Dispose();
        meter.Dispose();
        return ValueTask.CompletedTask;
    }

    private BufferStore CreateStore(GatewayConfiguration of)
    {
        var settings = new LaneSettings(
            of.Devices.MaxTableMemory, of.Buffer.MaxAge, new RunTime(time), HostBoot.Id(), a => clock.UnixMillisecondsOf(a));
        int bootsMax = of.Devices.MaxDevices * DeviceRegistry.BootsMax;
        return new BufferStore(buffer, ledger, of.Buffer, settings, bootsMax, time, meter, logger);
    }

    private static BufferDiskStatus StatusOf(DiskStatus disk) => new(
        DiskStatus.Word(disk.State),
        disk.Error,
        disk.Records,
        disk.Bytes,
        disk.BytesMax,
        disk.IsSpilling,
        disk.WrittenBytes,
        disk.DeviceBytes,
        disk.DeviceBytesPerDay,
        disk.SecondsUntilFull,
        disk.LastSyncMilliseconds,
        disk.Quarantined,
        disk.Lost);

    private static GapStatus StatusOf(GapReport gap) => new(
        gap.DeviceId, gap.BootId, gap.From, gap.To, gap.Count, DropReasons.Word(gap.Reason), gap.UnixMilliseconds);

    [LoggerMessage(1101, LogLevel.Warning,
        "{Count} frames were not confirmed by the broker in time: they were not acknowledged, and the devices will send them again")]
    private static partial void LogLeftBehind(ILogger logger, long count);

    [LoggerMessage(1102, LogLevel.Information, "reloaded: {Path} is changed")]
    private static partial void LogReloaded(ILogger logger, string path);

    [LoggerMessage(1103, LogLevel.Warning, "{Path} is changed in the configuration: restart the service for it to take effect")]
    private static partial void LogNeedsRestart(ILogger logger, string path);
}
