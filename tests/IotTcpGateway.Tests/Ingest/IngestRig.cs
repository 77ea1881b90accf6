using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;
using IotTcpGateway.TestKit;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

/// <summary>A record taken from the buffer by a test.</summary>
internal sealed record TakenRecord(
    RecordHandle Handle, string Device, uint Boot, uint Sequence, byte[] Body, ChannelTable Channels, Arrival Arrival);

/// <summary>
/// The real ingest on loopback with a real buffer, under fake time; the test is the forwarder, and takes and confirms
/// what it likes.
/// </summary>
internal sealed class IngestRig : IAsyncDisposable, ILogger
{
    public static readonly TimeSpan HangGuard = TimeSpan.FromSeconds(30);

    private readonly Meter meter = new("ingest-test");
    private readonly SemaphoreSlim added = new(0);
    private readonly MeterListener meters = new();
    private readonly ConcurrentDictionary<string, long> counts = new();
    private bool isFinished;

    public IngestRig(
        Action<ListenerOptions>? listener = null,
        Action<BufferOptions>? buffer = null,
        Action<DevicesOptions>? devices = null,
        ListenerOptions[]? listeners = null)
    {
        var bufferOptions = new BufferOptions { Disk = 0 };
        buffer?.Invoke(bufferOptions);
        Buffer = new RecordBuffer(bufferOptions, Time, meter);
        Buffer.Added += () => added.Release();
        var devicesOptions = new DevicesOptions();
        devices?.Invoke(devicesOptions);
        Clock = new GatewayClock(Time, () => IsSynchronised);
        Ingest = new IngestService(
            devicesOptions, Buffer, Board, Commands, Clock, Time, meter,
            new KnownDevices(Find, () => Known.Count), this);
        meters.InstrumentPublished = (instrument, all) =>
        {
            if (instrument.Meter == meter)
                all.EnableMeasurementEvents(instrument);
        };
        meters.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            string name = instrument.Name + (tags.Length > 0 ? $"{{{tags[0].Key}={tags[0].Value}}}" : "");
            counts.AddOrUpdate(name, value, (_, before) => before + value);
        });
        meters.Start();
        Options = new ListenerOptions { Endpoint = "127.0.0.1:0", Authentication = ["none", "hmac"] };
        listener?.Invoke(Options);
        Ingest.Start(listeners ?? [Options]);
    }

    public FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));

    public GatewayClock Clock { get; }

    public bool IsSynchronised { get; set; } = true;

    public ListenerOptions Options { get; }

    public RecordBuffer Buffer { get; }

    public DeviceBoard Board { get; } = new();

    public CommandBoard Commands { get; } = new();

    /// <summary>What the key file says.</summary>
    public ConcurrentDictionary<string, DeviceEntry> Known { get; } = new();

    /// <summary>Called when a key was looked up and before it is used.</summary>
    public Action? KeyFound { get; set; }

    public IngestService Ingest { get; }

    public ConcurrentQueue<(EventId Id, LogLevel Level, string Text)> Log { get; } = new();

    public IPEndPoint Endpoint => Ingest.Endpoints[0].Endpoint;

    /// <summary>What a counter has counted; with a tag as name{value}.</summary>
    public long Count(string name) => counts.GetValueOrDefault(name);

    public Task<RawDevice> OpenAsync(string id = "d1", uint boot = 1, uint highestUsed = 0) =>
        RawDevice.OpenAsync(Endpoint, id, boot, highestUsed);

    public Task<RawDevice> ConnectAsync() => RawDevice.ConnectAsync(Endpoint);

    public byte[] MakeKey(string id) => Know(id).Key!;

    /// <summary>Puts a device into the key file, with a new key if it is to have one.</summary>
    public DeviceEntry Know(string id, DeviceMode mode = DeviceMode.Hmac, DevicePermissions? permissions = null) => Known[id] = new DeviceEntry
    {
        Id = id,
        Mode = mode,
        Key = mode == DeviceMode.Hmac ? System.Security.Cryptography.RandomNumberGenerator.GetBytes(32) : null,
        Added = Time.GetUtcNow(),
        Permissions = permissions ?? DevicePermissions.Unlimited,
    };

    /// <summary>Takes so many records; they are with the test, as they were with the forwarder.</summary>
    public async Task<TakenRecord[]> TakeAsync(int records)
    {
        List<TakenRecord> taken = [];
        while (taken.Count < records)
        {
            if (TryTake() is { } record)
                taken.Add(record);
            else
                Assert.True(await added.WaitAsync(HangGuard), $"{taken.Count} of {records} records came");
        }

        return [.. taken];
    }

    public TakenRecord? TryTake() => Buffer.TryTake(out BufferedRecord record)
        ? new TakenRecord(
            record.Handle, record.Stream.DeviceId, record.Stream.BootId, record.Sequence, record.Body.ToArray(),
            record.Channels, record.Arrival)
        : null;

    public void Confirm(params TakenRecord[] records)
    {
        foreach (TakenRecord record in records)
            Buffer.Confirm(record.Handle);
    }

    /// <summary>
    /// Lets fake time pass, in the steps of the sweep, until something has happened; returns how much passed.
    /// </summary>
    public async Task<TimeSpan> PassUntilAsync(Task happened, TimeSpan? atMost = null)
    {
        DateTimeOffset since = Time.GetUtcNow();
        while (!happened.IsCompleted)
        {
            TimeSpan passed = Time.GetUtcNow() - since;
            Assert.True(
                passed <= (atMost ?? TimeSpan.FromMinutes(10)), $"it did not happen within {passed} of fake time");
            Time.Advance(TimeSpan.FromMilliseconds(250));
            await Task.WhenAny(happened, Task.Delay(2));
        }

        await happened;
        return Time.GetUtcNow() - since;
    }

    /// <summary>Waits for what other threads are about to do.</summary>
    public static async Task UntilAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(HangGuard);
        while (!condition())
        {
            Assert.False(limit.IsCancellationRequested, "the condition did not come true");
            await Task.Delay(1);
        }
    }

    /// <summary>Every change on the board, as the forwarder would publish it.</summary>
    public List<DeviceNotice> TakeNotices()
    {
        List<DeviceNotice> notices = [];
        while (Board.TryTake(out DeviceNotice notice))
            notices.Add(notice);
        return notices;
    }

    /// <summary>The orderly end; fake time passes meanwhile.</summary>
    public async Task FinishAsync()
    {
        isFinished = true;
        Ingest.StopReading();
        await PassUntilAsync(Ingest.FinishAsync());
    }

    public async ValueTask DisposeAsync()
    {
        if (!isFinished)
            await FinishAsync();
        Assert.Equal(0, Ingest.Connections);
        Assert.Equal(0, Ingest.Sessions);
        Assert.DoesNotContain(Log, line => line.Id.Id is 1211 or 1212);
        Ingest.Dispose();
        Buffer.Dispose();
        meters.Dispose();
        meter.Dispose();
        added.Dispose();
    }

    private DeviceEntry? Find(string id)
    {
        DeviceEntry? known = Known.GetValueOrDefault(id);
        KeyFound?.Invoke();
        return known;
    }

    IDisposable? ILogger.BeginScope<TState>(TState state) => null;

    bool ILogger.IsEnabled(LogLevel logLevel) => true;

    void ILogger.Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter) =>
        Log.Enqueue((eventId, logLevel, formatter(state, exception) + exception));
}
