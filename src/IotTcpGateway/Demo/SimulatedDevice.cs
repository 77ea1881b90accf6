using IotTcpGateway.DeviceClient;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Demo;

/// <summary>One device that measures what never was.</summary>
internal sealed class SimulatedDevice : IAsyncDisposable
{
    private static readonly (string Name, string Unit, DataType Type)[] Kinds =
    [
        ("temperature", "Cel", DataType.F32), ("pulses", "1", DataType.U32), ("level", "mm", DataType.I16),
        ("humidity", "%RH", DataType.U16),
    ];

    private readonly DeviceClient.DeviceClient client;
    private readonly TimeProvider time;
    private readonly int values;
    private readonly byte[] body = new byte[1024];
    private readonly double phase;
    private uint pulses;

    public SimulatedDevice(FleetOptions options, int number, TimeProvider time, LatencyHistogram latency)
    {
        this.time = time;
        values = options.Values;
        phase = number * 0.7;
        Id = $"{options.IdPrefix}{number}";
        client = new DeviceClient.DeviceClient(new DeviceClientOptions
        {
            Host = options.Host,
            Port = options.Port,
            DeviceId = Id,
            Key = options.KeyOf(Id),
            RequireTags = options.Tagged,
            Tls = options.Tls,
            Firmware = "simulated",
            Channels = [.. Enumerable.Range(0, values).Select(ChannelOf)],
            TimeProvider = time,
            OnOutcome = outcome =>
            {
                if (outcome.Fate == FrameFate.Acknowledged)
                    latency.Add(outcome.Latency);
            },
        });
    }

    public string Id { get; }

    public long Sent { get; private set; }

    public DeviceClientStatus Status => client.Status;

    public void Start() => client.Start();

    public void BreakConnection() => client.DropConnection();

    /// <summary>Hands a frame over if there is room for it.</summary>
    public bool TrySend()
    {
        if (!client.TrySend(body.AsSpan(0, Measure()), out _))
            return false;
        Sent++;
        return true;
    }

    /// <summary>Hands a frame over, waiting for room.</summary>
    public async ValueTask SendAsync(CancellationToken stopping)
    {
        await client.SendAsync(body.AsMemory(0, Measure()), stopping).ConfigureAwait(false);
        Sent++;
    }

    /// <summary>Waits until the outcome of every frame is known.</summary>
    public Task FlushAsync(CancellationToken stopping) => client.FlushAsync(stopping);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => client.DisposeAsync();

    private static DescribedChannel ChannelOf(int index)
    {
        (string name, string unit, DataType type) = Kinds[index % Kinds.Length];
        string suffix = index < Kinds.Length ? "" : $"-{(index / Kinds.Length) + 1}";
        return new DescribedChannel((ushort)(index + 1), type, name + suffix, unit);
    }

    private int Measure()
    {
        DateTimeOffset now = time.GetUtcNow();
        var data = new DataWriter(body, (now - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond);
        double wave = Math.Sin((now.ToUnixTimeMilliseconds() / 5000.0) + phase);
        for (int i = 0; i < values; i++)
            AddValue(ref data, i, wave);
        return data.Written;
    }

    private void AddValue(ref DataWriter data, int index, double wave)
    {
        ushort channel = (ushort)(index + 1);
        Span<byte> two = stackalloc byte[2];
        switch (Kinds[index % Kinds.Length].Type)
        {
            case DataType.F32:
                data.Add(channel, 0, (float)Math.Round(21 + (4 * wave), 2));
                break;
            case DataType.U32:
                data.Add(channel, 0, ++pulses);
                break;
            case DataType.I16:
                BitConverter.TryWriteBytes(two, (short)(500 * wave));
                data.AddRaw(channel, DataType.I16, 0, two);
                break;
            default:
                BitConverter.TryWriteBytes(two, (ushort)(50 + (20 * wave)));
                data.AddRaw(channel, DataType.U16, 0, two);
                break;
        }
    }
}
