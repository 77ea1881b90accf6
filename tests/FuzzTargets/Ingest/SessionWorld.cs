using System.Diagnostics.Metrics;
using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.Fuzz.Ingest;

/// <summary>The real ingest and buffer on loopback under fake time; the fuzzer is the broker and the devices.</summary>
internal sealed class SessionWorld : ILogger, IDisposable
{
    public static readonly byte[][] Keys = [[.. Enumerable.Repeat((byte)1, 32)], [.. Enumerable.Repeat((byte)2, 32)]];

    private const int WindowMax = 4;

    private static readonly TimeSpan HangGuard = TimeSpan.FromSeconds(30);

    private readonly Meter meter = new("fuzz");
    private readonly Lock gate = new();
    private readonly Dictionary<string, byte[]> keys = [];
    private readonly List<(RecordHandle Handle, StreamModel Stream, uint Sequence)> taken = [];
    private readonly Dictionary<(string Device, uint Boot), StreamModel> streams = [];
    private string? defect;
    private readonly bool isSafeBeforeAck;

    public SessionWorld(byte choices)
    {
        isSafeBeforeAck = BufferOf(choices).Ack == AckPolicy.Safe;
        // Two have a key from the beginning: nobody may ever come in as one of them without it.
        foreach (string device in (string[])["c", "d"])
        {
            keys[device] = Keys[0];
            KeysEver[device] = [Keys[0]];
        }

        Buffer = new RecordBuffer(BufferOf(choices), Time, meter);
        Buffer.GivenUp = (device, boot, sequence, _) => StreamOf(device, boot).GivenUp(sequence);
        Service = new IngestService(
            new DevicesOptions { MaxDevices = 3, MaxChannels = 4, MaxTableMemory = 4096 },
            Buffer, Board, Commands, new GatewayClock(Time, () => (choices & 1) != 0), Time, meter,
            new KnownDevices(Find, () => keys.Count), this);
        Service.Start([ListenerOf(choices)]);
        Endpoint = Service.Endpoints[0].Endpoint;
    }

    public FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));

    public RecordBuffer Buffer { get; }

    public DeviceBoard Board { get; } = new();

    public CommandBoard Commands { get; } = new();

    public IngestService Service { get; }

    public IPEndPoint Endpoint { get; }

    /// <summary>Whether nobody is let in any more.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>Grows with every step of the fuzzer.</summary>
    public int Step { get; set; }

    /// <summary>Every key that ever was in force, and null where there once was none, by device.</summary>
    public Dictionary<string, List<byte[]?>> KeysEver { get; } = [];

    public StreamModel StreamOf(string device, uint boot)
    {
        lock (gate)
        {
            if (!streams.TryGetValue((device, boot), out StreamModel? stream))
                streams.Add((device, boot), stream = new StreamModel());
            return stream;
        }
    }

    public byte[]? FindKey(string device)
    {
        lock (gate)
            return keys.GetValueOrDefault(device);
    }

    private DeviceEntry? Find(string device) =>
        FindKey(device) is { } key ? new DeviceEntry { Id = device, Key = key, Added = Time.GetUtcNow() } : null;

    /// <summary>The key file changes: a device gets a key, another one, or none.</summary>
    public void ChangeKey(string device, byte[]? key)
    {
        lock (gate)
        {
            if (key is null)
                keys.Remove(device);
            else
                keys[device] = key;
        }

        KeysEver.TryAdd(device, [null]);
        KeysEver[device].Add(key);
        Service.KnownChanged(new HashSet<string> { device });
    }

    /// <summary>Whether a device was without a key at some time.</summary>
    public bool WasEverKeyless(string device) => !KeysEver.TryGetValue(device, out List<byte[]?>? ever) || ever.Contains(null);

    public void Take(int records)
    {
        for (; records > 0 && Buffer.TryTake(out BufferedRecord record); records--)
        {
            StreamModel stream = StreamOf(record.Stream.DeviceId, record.Stream.BootId);
            stream.Taken(record.Sequence);
            taken.Add((record.Handle, stream, record.Sequence));
        }
    }

    public void Confirm(int which)
    {
        if (taken.Count == 0)
            return;
        (RecordHandle handle, StreamModel stream, uint sequence) = taken[which % taken.Count];
        taken.RemoveAt(which % taken.Count);
        // Before: from then on the ACK may be on its way.
        stream.Confirmed(sequence, Step);
        Buffer.Confirm(handle);
    }

    public void StopReading()
    {
        IsStopped = true;
        Service.StopReading();
    }

    /// <summary>Ends everything, and looks at what is left.</summary>
    public void Finish(Action readAll)
    {
        if (!IsStopped)
            StopReading();
        Task finishing = Service.FinishAsync();
        long since = TimeProvider.System.GetTimestamp();
        while (!finishing.Wait(TimeSpan.FromMilliseconds(1)))
        {
            readAll();
            Time.Advance(TimeSpan.FromMilliseconds(500));
            Require.That(TimeProvider.System.GetElapsedTime(since) < HangGuard, "the ingest does not come to its end");
        }

        readAll();
        Require.That(Service.Connections == 0, $"{Service.Connections} connections are left in the account");
        Require.That(Service.Sessions == 0, $"{Service.Sessions} sessions are left in the account");
        Require.That(Board.OnlineCount == 0, $"{Board.OnlineCount} devices are online for ever");
        Take(int.MaxValue);
        foreach (StreamModel stream in streams.Values.Where(_ => isSafeBeforeAck))
            stream.CheckAcknowledgements();
        while (taken.Count > 0)
            Confirm(0);
        Require.That(Buffer.Records == 0, $"{Buffer.Records} records are left in the account");
        // With all connections and records gone, the whole memory for tables is free again.
        Require.That(Buffer.TryHold(FullTable(), 4096, out ChannelTable held), "channel tables are left in the account");
        Buffer.Unhold(held);
        Require.That(Service.Completion is { IsCompleted: true, IsFaulted: false }, "a worker of the ingest failed");
        CheckNow();
    }

    /// <summary>What must hold at any moment.</summary>
    public void CheckNow()
    {
        Require.That(Volatile.Read(ref defect) is null, defect ?? "");
        Require.That(Buffer.MemoryBytes <= Buffer.MemoryBytesMax, "the buffer takes more memory than it may");
    }

    public void Dispose()
    {
        Service.Dispose();
        Buffer.Dispose();
        meter.Dispose();
    }

    private static BufferOptions BufferOf(byte choices) => new()
    {
        Disk = 0,
        Memory = 1,
        Ack = (choices & 2) != 0 ? AckPolicy.Memory : AckPolicy.Safe,
        WhenFull = (WhenFull)((choices >> 2) % 3),
    };

    private static ListenerOptions ListenerOf(byte choices) => new()
    {
        Endpoint = "127.0.0.1:0",
        Authentication = (choices & 0x10) != 0 ? ["hmac"] : ["none", "hmac"],
        MaxBody = 256,
        MaxWindow = WindowMax,
        FramesPerSecond = 20,
        MaxConnectionsPerAddress = 2,
        BadFramesPerMinute = (choices & 0x20) != 0 ? 2 : 1000,
    };

    // As large as the memory for tables allows.
    private static ChannelTable FullTable()
    {
        List<Channel> channels = [];
        for (ushort number = 1; ChannelTable.Empty.With(channels).ApproximateBytes < 4096 - 128 - 400; number++)
            channels.Add(new Channel(number, IotTcpGateway.Protocol.DataType.Bool, "n", ""));
        return ChannelTable.Empty.With(channels);
    }

    IDisposable? ILogger.BeginScope<TState>(TState state) => null;

    bool ILogger.IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

    void ILogger.Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception,
        Func<TState, Exception?, string> formatter)
    {
        if (exception is not null)
            Volatile.Write(ref defect, $"{formatter(state, exception)}: {exception}");
    }
}
