using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Ingest;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class TimeoutTests
{
    [Fact]
    public async Task Idle_NothingReceived_IsBye3()
    {
        await using var rig = new IngestRig(o => o.IdleTimeout = TimeSpan.FromSeconds(20));
        using RawDevice device = await rig.OpenAsync();
        TimeSpan passed = await rig.PassUntilAsync(device.ExpectByeAsync(ByeReason.Idle));
        Assert.InRange(passed.TotalSeconds, 20, 40);
    }

    [Fact]
    public async Task Idle_PingInTime_KeepsTheSession()
    {
        await using var rig = new IngestRig(o => o.IdleTimeout = TimeSpan.FromSeconds(30));
        using RawDevice device = await rig.OpenAsync();
        for (int i = 0; i < 12; i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(10));
            Assert.Empty(await device.PingAsync());
        }
    }

    [Fact]
    public async Task Idle_TimeInWhichItDidNotRead_DoesNotCount()
    {
        await using var rig = new IngestRig(o => (o.IdleTimeout, o.MaxWindow) = (TimeSpan.FromSeconds(10), 1));
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        TakenRecord[] taken = await rig.TakeAsync(1);
        await device.SendDataAsync(2);
        using RawDevice idle = await rig.OpenAsync("idle");
        // Another device that is read from ends meanwhile; this one is held back by its window.
        await rig.PassUntilAsync(idle.ExpectByeAsync(ByeReason.Idle));
        rig.Time.Advance(TimeSpan.FromSeconds(60));
        await Task.Yield();
        rig.Confirm(taken);
        await device.ExpectAckAsync(1);
        rig.Confirm(await rig.TakeAsync(1));
        await device.ExpectAckAsync(2);
        Assert.Empty(await device.PingAsync());
    }

    [Theory]
    [InlineData(300)]
    [InlineData(9_000)]
    public async Task Frame_TricklingBytes_DoNotExtendItsTimeout(int bodyBytes)
    {
        await using var rig = new IngestRig(
            o => (o.FrameTimeout, o.IdleTimeout) = (TimeSpan.FromSeconds(8), TimeSpan.FromHours(1)));
        using RawDevice device = await rig.OpenAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Data, 1, new byte[bodyBytes]);
        Task ended = device.ExpectByeAsync(ByeReason.ProtocolError);
        DateTimeOffset since = rig.Time.GetUtcNow();
        for (int i = 0; !ended.IsCompleted; i++)
        {
            TimeSpan passed = rig.Time.GetUtcNow() - since;
            Assert.True(passed < TimeSpan.FromSeconds(60), $"{passed}");
            // Enough of the beginning that an oversized one is known to be that.
            if (i < frame.Length - 14)
                await device.SendAsync(i == 0 ? frame.AsMemory(0, 13) : frame.AsMemory(12 + i, 1));
            rig.Time.Advance(TimeSpan.FromSeconds(0.5));
            await Task.WhenAny(ended, Task.Delay(5));
        }

        await ended;
        Assert.True(rig.Time.GetUtcNow() - since >= TimeSpan.FromSeconds(8));
        await IngestRig.UntilAsync(() => rig.Board.OnlineCount == 0);
        Assert.Equal("frame-timeout", rig.Board.Snapshot()[0].Reason);
    }

    [Fact]
    public async Task Frame_OneAfterTheOtherInPieces_EachHasItsOwnTime()
    {
        await using var rig = new IngestRig(o => o.FrameTimeout = TimeSpan.FromSeconds(8));
        using RawDevice device = await rig.OpenAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Ping, 1, Array.Empty<byte>());
        await device.SendAsync(frame.AsMemory(0, 5));
        for (int i = 0; i < 6; i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(4));
            // The end of one and the beginning of the next, always in the midst of a frame.
            await device.SendAsync((byte[])[.. frame[5..], .. frame[..5]]);
            await device.ExpectAsync(FrameType.Pong);
        }
    }

    [Fact]
    public async Task Peer_ThatStaysAfterBye_IsClosedWithinASecond()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(0);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(1, rig.Ingest.Connections);
        TimeSpan passed = await rig.PassUntilAsync(IngestRig.UntilAsync(() => rig.Ingest.Connections == 0));
        Assert.InRange(passed.TotalSeconds, 0.75, 30);
    }

    [Fact]
    public async Task Bye_WhileThePeerIsSending_IsNotEatenByAReset()
    {
        for (int round = 0; round < 20; round++)
        {
            await using var rig = new IngestRig();
            using RawDevice device = await rig.OpenAsync();
            await device.SendDataAsync(0);
            // More than the gateway reads before it closes.
            await device.SendAsync(new byte[40_000]);
            await device.ExpectByeAsync(ByeReason.ProtocolError);
            await IsReadOnAsync(device);
        }
    }

    [Fact]
    public async Task SupersededWhileSending_ByeIsNotEatenByAReset()
    {
        await using var rig = new IngestRig(o => (o.MaxWindow, o.FramesPerSecond) = (5_000, 100_000));
        using RawDevice older = await rig.OpenAsync();
        for (uint sequence = 1; sequence <= 1_000; sequence++)
            await older.SendDataAsync(sequence);
        using RawDevice newer = await rig.OpenAsync(highestUsed: 1_000);
        await older.ExpectByeAsync(ByeReason.Superseded);
        await IsReadOnAsync(older);
    }

    [Fact]
    public async Task Shutdown_WhatBecomesSafeIsAcknowledgedThenBye()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        using RawDevice handshake = await rig.ConnectAsync();
        await device.SendDataAsync(1);
        await device.SendDataAsync(2);
        TakenRecord[] taken = await rig.TakeAsync(2);
        await IngestRig.UntilAsync(() => rig.Ingest.Connections == 2);
        rig.Ingest.StopReading();
        await handshake.ExpectRefuseAsync(RefuseReason.ShuttingDown);
        await device.SendDataAsync(3);
        rig.Confirm(taken[0]);
        await device.ExpectAckAsync(1);
        rig.Confirm(taken[1]);
        Task finished = rig.FinishAsync();
        await device.ExpectAckAsync(2);
        await device.ExpectByeAsync(ByeReason.ShuttingDown);
        device.Dispose();
        await finished;
        Assert.Null(rig.TryTake());
        Assert.Equal((false, "shutting-down"), (rig.Board.Snapshot()[0].IsOnline, rig.Board.Snapshot()[0].Reason));
        Assert.True(rig.Ingest.Completion.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task Shutdown_AckOwedAtTheLastMoment_ComesBeforeTheBye()
    {
        for (int round = 0; round < 20; round++)
        {
            await using var rig = new IngestRig();
            using RawDevice device = await rig.OpenAsync();
            await device.SendDataAsync(1);
            TakenRecord[] taken = await rig.TakeAsync(1);
            rig.Ingest.StopReading();
            rig.Confirm(taken);
            Task finished = rig.FinishAsync();
            await device.ExpectAckAsync(1);
            await device.ExpectByeAsync(ByeReason.ShuttingDown);
            device.Dispose();
            await finished;
        }
    }

    [Fact]
    public async Task Finish_PeerThatStays_IsClosedHardAndNothingRunsOn()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await rig.FinishAsync();
        Assert.Equal((0, 0), (rig.Ingest.Connections, rig.Ingest.Sessions));
        Assert.True(rig.Ingest.Completion.IsCompleted);
    }

    [Fact]
    public async Task Peer_ThatTakesNothing_IsCutOffAfterTheSendTimeout()
    {
        await using var rig = new IngestRig(
            o =>
            {
                o.IdleTimeout = o.FrameTimeout = TimeSpan.FromHours(9);
                o.FramesPerSecond = 1_000_000;
            });
        using RawDevice device = await RawDevice.ConnectAsync(rig.Endpoint, receiveBufferBytes: 4_096);
        await device.SendHelloAsync("deaf");
        await device.ExpectAsync(FrameType.Welcome);
        Task flood = FloodAsync(device);
        await rig.PassUntilAsync(
            IngestRig.UntilAsync(() => rig.Board.OnlineCount == 0 && rig.Board.Snapshot().Count == 1),
            TimeSpan.FromHours(8));
        Assert.Equal("not-reading", rig.Board.Snapshot()[0].Reason);
        await Assert.ThrowsAnyAsync<Exception>(() => flood);
    }

    [Fact]
    public async Task Reload_OfLimits_LeavesWhatWasPromisedToASession()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync("d1");
        rig.Ingest.Change([new ListenerOptions { MaxBody = 100, Authentication = ["none"], MaxWindow = 5 }]);
        await device.SendAsync(FrameType.Data, 1, RawDevice.DataBody(paddingBytes: 2_000));
        Assert.Equal(1u, (await rig.TakeAsync(1))[0].Sequence);
        using RawDevice later = await rig.OpenAsync("d2");
        Assert.Equal((100, 5), (later.Welcome!.LargestBody, later.Welcome.Window));
    }

    [Fact]
    public async Task IsTurningOver_WhileTheSweepRuns_AndNotAfterTheEnd()
    {
        await using var rig = new IngestRig();
        Assert.True(rig.Ingest.IsTurningOver);
        for (int i = 0; i < 100; i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(1));
            await IngestRig.UntilAsync(() => rig.Ingest.IsTurningOver);
        }

        await rig.FinishAsync();
        Assert.False(rig.Ingest.IsTurningOver);
    }

    [Fact]
    public void Start_EndpointInUse_ThrowsAndDisposeClosesTheFirst()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        string endpoint = taken.LocalEndPoint!.ToString()!;
        ListenerOptions[] listeners =
            [new ListenerOptions { Endpoint = "127.0.0.1:0" }, new ListenerOptions { Endpoint = endpoint }];
        Assert.Throws<SocketException>(() => new IngestRig(listeners: listeners));
    }

    // Less than a window of frames. A gateway that had closed would answer with a reset: the second send at the latest would
    // fail.
    private static async Task IsReadOnAsync(RawDevice device)
    {
        for (int i = 0; i < 5; i++)
            await device.SendAsync(new byte[40_000]);
    }

    // A device that asks and never listens: the gateway stops reading it, and what it sends is not taken any more.
    private static async Task FloodAsync(RawDevice device)
    {
        byte[] ping = RawDevice.FrameOf(FrameType.Ping, 1, new byte[32]);
        byte[] pings = [.. Enumerable.Repeat(ping, 100).SelectMany(f => f)];
        while (true)
            await device.SendAsync(pings);
    }

    [Fact]
    public async Task Refused_SendsOnWithoutEnd_IsNotReadForLong()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("not/an/id");
        await device.ExpectRefuseAsync(RefuseReason.ProtocolError);
        // No time passes here: what ends it is how much it sends.
        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            for (int sent = 0; sent < 64 << 20; sent += 65_536)
                await device.SendAsync(new byte[65_536]);
        });
        await IngestRig.UntilAsync(() => rig.Ingest.Connections == 0);
    }
}
