using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class LifeTests
{
    [Fact]
    public async Task Stop_Online_SaysByeAndLeavesTheRestCounted()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1, count: 2);
        await connection.ReceiveDataAsync(2);
        Task stopping = rig.Client.StopAsync();
        ScriptedFrame bye = Assert.Single(await connection.ReceiveUntilClosedAsync());
        Assert.Equal((FrameType.Bye, (byte)ByeReason.Normal), (bye.Type, bye.Body[0]));
        await connection.DisposeAsync();
        await Guard.Limit(stopping);
        Assert.Equal((DeviceClientPhase.Stopped, 2), (rig.Client.Status.State.Phase, rig.Client.Status.KeptFrames));
        await Guard.Limit(rig.Client.StopAsync());
    }

    [Fact]
    public async Task Stop_AckOnItsWay_IsStillTaken()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1);
        await connection.ReceiveDataAsync(1);
        Task stopping = rig.Client.StopAsync();
        await connection.ReceiveAsync(FrameType.Bye);
        await connection.AckAsync(1, 100);
        await connection.DisposeAsync();
        await Guard.Limit(stopping);
        Assert.Equal((1, 0), (rig.Client.Status.Acknowledged, rig.Client.Status.KeptFrames));
    }

    [Fact]
    public async Task Stop_GatewayDoesNotClose_CutsAfterASecond()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        Task stopping = rig.Client.StopAsync();
        await connection.ReceiveAsync(FrameType.Bye);
        Assert.False(stopping.IsCompleted);
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        await Guard.Limit(stopping);
    }

    [Fact]
    public async Task Stop_Cancelled_CutsAtOnce()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        using var impatient = new CancellationTokenSource();
        Task stopping = rig.Client.StopAsync(impatient.Token);
        await connection.ReceiveAsync(FrameType.Bye);
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Guard.Limit(stopping));
        await rig.StateAsync(DeviceClientPhase.Stopped);
    }

    [Theory]
    [InlineData("created")]
    [InlineData("connecting")]
    [InlineData("waiting")]
    public async Task Stop_NotOnline_EndsAtOnce(string when)
    {
        await using var rig = new Rig();
        if (when != "created")
        {
            rig.Client.Start();
            ScriptedConnection connection = await rig.Gateway.AcceptAsync();
            if (when == "waiting")
            {
                connection.Reset();
                await rig.StateAsync(DeviceClientPhase.Waiting);
            }
        }

        await Guard.Limit(rig.Client.StopAsync());
        await rig.StateAsync(DeviceClientPhase.Stopped);
    }

    [Fact]
    public async Task Stop_WhileOthersWait_TellsThem()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = 256 });
        rig.Send(1, count: 6);
        Task<ulong> send = rig.Client.SendAsync(Rig.Body(7)).AsTask();
        Task flush = rig.Client.FlushAsync();
        await rig.Client.StopAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => Guard.Limit(send));
        await Assert.ThrowsAsync<InvalidOperationException>(() => Guard.Limit(flush));
        Assert.Throws<InvalidOperationException>(() => rig.Client.TrySend(Rig.Body(8), out _));
        Assert.Throws<InvalidOperationException>(rig.Client.Start);
    }

    [Fact]
    public async Task Start_Twice_Throws()
    {
        await using var rig = new Rig();
        rig.Client.Start();
        Assert.Throws<InvalidOperationException>(rig.Client.Start);
    }

    [Fact]
    public async Task Flush_WaitsForWhatWasHandedOverBeforeAndNotForMore()
    {
        await using var rig = new Rig();
        await Guard.Limit(rig.Client.FlushAsync());
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1, count: 2);
        Task flush = rig.Client.FlushAsync();
        rig.Send(3);
        await connection.ReceiveDataAsync(3);
        await connection.NackAsync(2, NackReason.ValueRefused);
        await rig.OutcomeAsync();
        await Rig.FenceAsync(connection);
        Assert.False(flush.IsCompleted);
        await connection.AckAsync(1, 100);
        await Guard.Limit(flush);
        Assert.Equal(1, rig.Client.Status.KeptFrames);
    }

    [Fact]
    public async Task Flush_Completed_EveryOutcomeHasBeenTold()
    {
        using var gate = new ManualResetEventSlim();
        await using var rig = new Rig(new RigOptions { OnOutcome = _ => gate.Wait(Guard.Longest) });
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1);
        Task flush = rig.Client.FlushAsync();
        await connection.ReceiveDataAsync(1);
        await connection.AckAsync(1, 100);
        // The frame leaves the memory first, its outcome is told next, and the flush is complete last.
        while (rig.Client.Status.KeptFrames > 0)
            await Task.Yield();
        Task later = rig.Client.FlushAsync();
        Assert.False(flush.IsCompleted || later.IsCompleted);
        gate.Set();
        await Guard.Limit(Task.WhenAll(flush, later));
        Assert.True(rig.HasOutcome);
    }

    [Fact]
    public async Task Flush_Cancelled_Throws()
    {
        await using var rig = new Rig();
        rig.Send(1);
        using var cancellation = new CancellationTokenSource();
        Task flush = rig.Client.FlushAsync(cancellation.Token);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Guard.Limit(flush));
    }

    [Fact]
    public async Task Callback_Throws_EndsTheClientAndComesOutOfStop()
    {
        using var gateway = new CancellationTokenSource();
        var rig = new Rig(new RigOptions { OnOutcome = _ => throw new IOException("my disk is full") });
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1, count: 2);
        Task flush = rig.Client.FlushAsync();
        await connection.ReceiveDataAsync(2);
        await connection.AckAsync(1, 100);
        await Assert.ThrowsAsync<InvalidOperationException>(() => Guard.Limit(flush));
        var thrown = await Assert.ThrowsAsync<InvalidOperationException>(() => Guard.Limit(rig.Client.StopAsync()));
        Assert.Equal("my disk is full", Assert.IsType<IOException>(thrown.InnerException).Message);
        Assert.Equal(DeviceClientPhase.Stopped, rig.Client.Status.State.Phase);
        await rig.Gateway.DisposeAsync();
    }

    public static TheoryData<string, Action<OptionsDraft>> Faults => new()
    {
        { "Host", o => o.Host = "" },
        { "Port", o => o.Port = 0 },
        { "Port", o => o.Port = 65_536 },
        { "DeviceId", o => o.DeviceId = ".hidden" },
        { "DeviceId", o => o.DeviceId = "status" },
        { "Key", o => o.Key = new byte[31] },
        { "Key", o => o.Key = [] },
        { "RequireTags", o => o.RequireTags = true },
        { "Firmware", o => o.Firmware = new string('ä', 33) },
        { "BootId", o => o.BootId = 0 },
        { "MemoryBytesMax", o => o.MemoryBytesMax = 255 },
        { "ConnectTimeout", o => o.ConnectTimeout = TimeSpan.Zero },
        { "meta", o => o.Channels = [new(1, DataType.U8, "meta/x", "")] },
        { "unit", o => o.Channels = [new(1, DataType.U8, "x", new string('x', 33))] },
        { "type", o => o.Channels = [new(1, (DataType)0x0E, "x", "")] },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Constructor_OptionBreaksARule_SaysWhich(string name, Action<OptionsDraft> spoil)
    {
        var draft = new OptionsDraft();
        _ = new DeviceClient(draft.ToOptions());
        spoil(draft);
        var fault = Assert.ThrowsAny<ArgumentException>(() => new DeviceClient(draft.ToOptions()));
        Assert.Contains(name, fault.Message, StringComparison.Ordinal);
    }

    public sealed class OptionsDraft
    {
        public string Host { get; set; } = "gateway";

        public int Port { get; set; } = 7183;

        public string DeviceId { get; set; } = "press-7";

        public byte[]? Key { get; set; }

        public bool RequireTags { get; set; }

        public string Firmware { get; set; } = "";

        public uint? BootId { get; set; }

        public int MemoryBytesMax { get; set; } = 1024;

        public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(1);

        public IReadOnlyList<DescribedChannel> Channels { get; set; } = [];

        public DeviceClientOptions ToOptions() => new()
        {
            Host = Host,
            Port = Port,
            DeviceId = DeviceId,
            Key = Key,
            RequireTags = RequireTags,
            Firmware = Firmware,
            BootId = BootId,
            MemoryBytesMax = MemoryBytesMax,
            ConnectTimeout = ConnectTimeout,
            Channels = Channels,
        };
    }
}
