using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>A forwarder with everything around it, on fake time, with real sockets to scripted brokers.</summary>
internal sealed class Rig : IAsyncDisposable
{
    /// <summary>No test waits for this to pass.</summary>
    public static readonly TimeSpan HangGuard = TimeSpan.FromSeconds(60);

    private readonly Meter meter = new("test");
    private readonly Dictionary<string, (DeviceStream Stream, uint Sequence)> streams = [];
    private bool isStarted;

    public Rig(params ScriptedBroker[] brokers)
        : this(new MqttOptions(), brokers)
    {
    }

    public Rig(MqttOptions options, params ScriptedBroker[] brokers)
    {
        if (options.Brokers.Count == 0)
            options.Brokers = [.. brokers.Select(b => b.Uri)];
        if (options.ClientId.Length == 0)
            options.ClientId = "iotgw-test";
        Time.SetUtcNow(DateTimeOffset.FromUnixTimeMilliseconds(1_763_900_000_000));
        Buffer = new RecordBuffer(new BufferOptions { Disk = 0 }, Time, meter);
        Clock = new GatewayClock(Time, () => true);
        Ledger = new DropLedger(Time, () => Clock.IsSynchronised ? Clock.UnixMilliseconds : 0);
        Forwarder = new Forwarder(
            options, "gw", "1.2.3", Buffer, Board, Commands, Clock, Time, meter, Log, jitter: () => 1.0, Ledger);
    }

    public PatientTime Time { get; } = new();

    public RecordBuffer Buffer { get; }

    public GatewayClock Clock { get; }

    public DeviceBoard Board { get; } = new();

    public CommandBoard Commands { get; } = new();

    public DropLedger Ledger { get; }

    public Forwarder Forwarder { get; }

    public TestLog Log { get; } = new();

    /// <summary>What outlives a link; to be looked at while there is none.</summary>
    public ForwardContext Context => (ForwardContext)typeof(Forwarder)
        .GetField("context", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Instance)!
        .GetValue(Forwarder)!;

    /// <summary>What a gauge says now.</summary>
    public long Gauge(string name)
    {
        long value = -1;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter == meter && instrument.Name == name)
                l.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((_, measured, _, _) => value = measured);
        listener.SetMeasurementEventCallback<int>((_, measured, _, _) => value = measured);
        listener.Start();
        listener.RecordObservableInstruments();
        return value;
    }

    public void Start()
    {
        isStarted = true;
        Forwarder.Start();
    }

    /// <summary>Adds a record of one value; sequences count per device.</summary>
    public uint Add(string device, int value = 1)
    {
        (DeviceStream stream, uint sequence) = streams.TryGetValue(device, out var known)
            ? known
            : (Buffer.Open(device, 7), 0u);
        streams[device] = (stream, ++sequence);
        Span<byte> body = stackalloc byte[64];
        var writer = new DataWriter(body, 1_763_900_000_000_000);
        writer.Add(1, 0, value);
        AddResult added = Buffer.TryAdd(stream, sequence, ChannelTable.Empty, Clock.Arrival(), body[..writer.Written]);
        Assert.Equal(AddResult.Added, added);
        return sequence;
    }

    /// <summary>Starts, and accepts the first connection with its birth confirmed.</summary>
    public async Task<ScriptedLink> StartAsync(ScriptedBroker broker, ConnAckTerms? terms = null)
    {
        Start();
        return await AcceptAsync(broker, terms);
    }

    /// <summary>The next connection, accepted after whatever back-off there is, with its birth confirmed.</summary>
    public async Task<ScriptedLink> AcceptAsync(ScriptedBroker broker, ConnAckTerms? terms = null)
    {
        ScriptedLink link = await Time.AdvanceUntilAsync(broker.AcceptAsync(terms));
        ReceivedPublish birth = await link.ReceivePublishAsync().WaitAsync(HangGuard);
        Assert.Equal("telemetry/gw/status", birth.Topic);
        Assert.Contains("\"online\"", birth.Text, StringComparison.Ordinal);
        long published = Forwarder.Status.Published;
        await link.PubAckAsync(birth);
        await Eventually.IsTrueAsync(() => Forwarder.Status.Published > published);
        return link;
    }

    /// <summary>Answers the only message in flight, and waits until the gateway has looked at the answer.</summary>
    public async Task AnswerAsync(ScriptedLink link, ReceivedPublish message, byte code = 0)
    {
        await Eventually.IsTrueAsync(() => Forwarder.Status.InFlight == 1);
        await link.PubAckAsync(message, code);
        await Eventually.IsTrueAsync(() => Forwarder.Status.InFlight == 0);
    }

    /// <summary>Stops in an orderly way; the broker must answer.</summary>
    public async Task StopAsync()
    {
        isStarted = false;
        await Forwarder.StopAsync().WaitAsync(HangGuard);
    }

    public async ValueTask DisposeAsync()
    {
        // Most tests leave a broker behind that answers nothing any more: the limits of a goodbye pass.
        if (isStarted)
            await Time.AdvanceUntilAsync(AsBool(Forwarder.StopAsync()));
        Forwarder.Dispose();
        Ledger.Dispose();
        Buffer.Dispose();
        meter.Dispose();
    }

    private static async Task<bool> AsBool(Task task)
    {
        await task;
        return true;
    }
}

/// <summary>Keeps what was logged.</summary>
internal sealed class TestLog : ILogger
{
    public ConcurrentQueue<(int Id, string Text)> Lines { get; } = new();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public int Count(int id) => Lines.Count(l => l.Id == id);

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Lines.Enqueue((eventId.Id, formatter(state, exception)));
}
