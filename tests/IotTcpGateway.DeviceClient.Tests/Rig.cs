using System.Threading.Channels;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

/// <summary>What a test varies about the client.</summary>
internal sealed record RigOptions
{
    public byte[]? Key { get; init; }

    public byte[]? GatewayKey { get; init; }

    public bool RequireTags { get; init; }

    public uint? BootId { get; init; } = 0xB007;

    public IReadOnlyList<DescribedChannel> Channels { get; init; } = [];

    public int MemoryBytesMax { get; init; } = 64 * 1024;

    public WhenFull WhenFull { get; init; }

    public uint FirstSequence { get; init; } = 1;

    public Func<DeviceCommand, CancellationToken, ValueTask<DeviceCommandReply>>? OnCommand { get; init; }

    public Action<FrameOutcome>? OnOutcome { get; init; }

    /// <summary>Whether every wait for the next connect passes by itself.</summary>
    public bool WaitsPass { get; init; }
}

/// <summary>A client, the gateway it talks to over loopback, and a clock that the test moves.</summary>
internal sealed class Rig : IAsyncDisposable
{
    private readonly Channel<DeviceClientState> states = Channel.CreateUnbounded<DeviceClientState>();
    private readonly Channel<FrameOutcome> outcomes = Channel.CreateUnbounded<FrameOutcome>();

    public Rig(RigOptions? options = null)
    {
        options ??= new RigOptions();
        Gateway = new ScriptedGateway { Key = options.GatewayKey ?? options.Key };
        Client = new DeviceClient(new DeviceClientOptions
        {
            Host = "127.0.0.1",
            Port = Gateway.Port,
            DeviceId = "press-7",
            Firmware = "1.2",
            Key = options.Key,
            RequireTags = options.RequireTags,
            BootId = options.BootId,
            Channels = options.Channels,
            MemoryBytesMax = options.MemoryBytesMax,
            WhenFull = options.WhenFull,
            FirstSequence = options.FirstSequence,
            TimeProvider = Time,
            Jitter = new NoJitter(),
            OnCommand = options.OnCommand,
            OnOutcome = outcome =>
            {
                options.OnOutcome?.Invoke(outcome);
                outcomes.Writer.TryWrite(outcome);
            },
            OnStateChanged = state =>
            {
                states.Writer.TryWrite(state);
                if (options.WaitsPass && state.Until is { } until)
                    Time.Advance(until - Time.GetUtcNow());
            },
        });
    }

    public SteppedTime Time { get; } = new();

    public ScriptedGateway Gateway { get; }

    public DeviceClient Client { get; }

    public static byte[] Body(int value)
    {
        Span<byte> body = stackalloc byte[32];
        var writer = new DataWriter(body, baseTime: 1);
        writer.Add(channel: 1, offsetMilliseconds: 0, value);
        return body[..writer.Written].ToArray();
    }

    public static int Value(byte[] body)
    {
        var reader = new DataReader(body);
        reader.TryRead(out DataRecord record);
        return (int)record.AsSigned();
    }

    /// <summary>Starts the client and welcomes it.</summary>
    public async Task<ScriptedConnection> StartAsync(ScriptedTerms? terms = null)
    {
        Client.Start();
        ScriptedConnection connection = await Gateway.WelcomeAsync(terms);
        await StateAsync(DeviceClientPhase.Online);
        return connection;
    }

    /// <summary>Lets the wait for the next connect pass, and welcomes the client again.</summary>
    public async Task<ScriptedConnection> ComeBackAsync(ScriptedTerms? terms = null)
    {
        await PassWaitAsync();
        ScriptedConnection connection = await Gateway.WelcomeAsync(terms);
        await StateAsync(DeviceClientPhase.Online);
        return connection;
    }

    /// <summary>Waits until the client waits, and moves the clock to its end. Gives the wait.</summary>
    public async Task<(TimeSpan Wait, ConnectionEnd End)> PassWaitAsync()
    {
        DeviceClientState waiting = await StateAsync(DeviceClientPhase.Waiting);
        TimeSpan wait = waiting.Until!.Value - Time.GetUtcNow();
        Time.Advance(wait);
        return (wait, waiting.LastEnd!);
    }

    public async Task<DeviceClientState> StateAsync(DeviceClientPhase phase)
    {
        while (true)
        {
            DeviceClientState state = await Guard.Limit(states.Reader.ReadAsync().AsTask());
            if (state.Phase == phase)
                return state;
        }
    }

    public Task<FrameOutcome> OutcomeAsync() => Guard.Limit(outcomes.Reader.ReadAsync().AsTask());

    public async Task<FrameOutcome[]> OutcomesAsync(int count)
    {
        var all = new FrameOutcome[count];
        for (int i = 0; i < count; i++)
            all[i] = await OutcomeAsync();
        return all;
    }

    public bool HasOutcome => outcomes.Reader.TryPeek(out _);

    public void Send(int first, int count = 1)
    {
        for (int i = 0; i < count; i++)
            Assert.True(Client.TrySend(Body(first + i), out _));
    }

    /// <summary>Receives DATA frames of these sequences and nothing between.</summary>
    public static async Task ExpectDataAsync(ScriptedConnection connection, params uint[] sequences)
    {
        uint[] got = await connection.ReceiveDataAsync(sequences.Length);
        Assert.Equal<uint[]>(sequences, got);
    }

    /// <summary>
    /// Has the client answer two pings: whatever it could send when it got the first has come before it answers the
    /// second. Gives what came.
    /// </summary>
    public static async Task<IReadOnlyList<ScriptedFrame>> FenceAsync(ScriptedConnection connection)
    {
        var before = new List<ScriptedFrame>();
        for (uint mark = 0xFE9CE0; mark < 0xFE9CE2; mark++)
        {
            await connection.SendAsync(FrameType.Ping, mark, []);
            while (await connection.ReceiveAsync() is { } frame)
            {
                if ((frame.Type, frame.Sequence) == (FrameType.Pong, mark))
                    break;
                before.Add(frame);
            }
        }

        return before;
    }

    public async ValueTask DisposeAsync()
    {
        await Gateway.DisposeAsync();
        using var impatient = new CancellationTokenSource(Guard.Longest);
        await Client.StopAsync(impatient.Token);
    }

    private sealed class NoJitter : Random
    {
        public override double NextDouble() => 0;
    }
}
