using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class WindowTests
{
    [Fact]
    public async Task ExactlyTheWindow_PingIsAnsweredAndTheFrameBeyondIsNotRead()
    {
        await using var rig = new IngestRig(o => o.MaxWindow = 3);
        using RawDevice device = await rig.OpenAsync();
        for (uint sequence = 1; sequence <= 3; sequence++)
            await device.SendDataAsync(sequence);
        Assert.Empty(await device.PingAsync());
        TakenRecord[] taken = await rig.TakeAsync(3);

        await device.SendDataAsync(4);
        await device.SendAsync(FrameType.Ping, 8, Array.Empty<byte>());
        // Another device's whole exchange: the overrunning one had its chance meanwhile.
        using (RawDevice other = await rig.OpenAsync("other"))
            await other.PingAsync();
        Assert.Null(rig.TryTake());
        Assert.False(device.HasBytes);

        rig.Confirm(taken[0]);
        await device.ExpectAckAsync(1);
        Assert.Equal(8u, (await device.ExpectAsync(FrameType.Pong)).Sequence);
        Assert.Equal(4u, (await rig.TakeAsync(1))[0].Sequence);
    }

    [Fact]
    public async Task DuplicatesBeforeTheAck_CountInTheWindow()
    {
        await using var rig = new IngestRig(o => o.MaxWindow = 2);
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        await device.SendDataAsync(1);
        await device.SendDataAsync(2);
        await device.SendAsync(FrameType.Ping, 8, Array.Empty<byte>());
        using (RawDevice other = await rig.OpenAsync("other"))
            await other.PingAsync();
        Assert.False(device.HasBytes);
        rig.Confirm(await rig.TakeAsync(1));
        await device.ExpectAckAsync(1);
        await device.ExpectAsync(FrameType.Pong);
        await rig.TakeAsync(1);
    }

    [Fact]
    public async Task Nack_FreesItsPlaceInTheWindow()
    {
        await using var rig = new IngestRig(o => o.MaxWindow = 1);
        using RawDevice device = await rig.OpenAsync();
        for (uint sequence = 1; sequence <= 5; sequence++)
            await device.SendAsync(FrameType.Data, sequence, new byte[3]);
        for (uint sequence = 1; sequence <= 5; sequence++)
            Assert.Equal(sequence, (await device.ExpectAsync(FrameType.Nack)).Sequence);
        Assert.Empty(await device.PingAsync());
    }

    [Fact]
    public async Task AckAheadOfWhatArrived_FramesThatCrossItAreNotBeyondTheWindow()
    {
        await using var rig = new IngestRig(o => o.MaxWindow = 3);
        using RawDevice older = await rig.OpenAsync();
        for (uint sequence = 1; sequence <= 3; sequence++)
            await older.SendDataAsync(sequence);
        TakenRecord[] taken = await rig.TakeAsync(3);
        using RawDevice newer = await rig.OpenAsync(highestUsed: 3);
        await newer.SendDataAsync(1);
        await newer.PingAsync();
        rig.Confirm(taken);
        await newer.ExpectAckAsync(3);
        // 2 and 3 were on their way; for the device all three are answered, so three new ones may follow.
        for (uint sequence = 2; sequence <= 6; sequence++)
            await newer.SendDataAsync(sequence);
        Assert.Equal([4u, 5u, 6u], (await rig.TakeAsync(3)).Select(r => r.Sequence));
        Assert.All(await newer.PingAsync(), frame => Assert.Equal((FrameType.Ack, 3u), (frame.Type, frame.Sequence)));
    }

    [Fact]
    public async Task FullBuffer_WelcomeAndAckSayZero_AndWhatWasOnTheWayIsTaken()
    {
        await using var rig = new IngestRig(
            o => (o.MaxBody, o.FramesPerSecond) = (16_384, 100_000), b => b.Memory = 20 * RecordChunk.Bytes);
        using RawDevice device = await rig.OpenAsync("d1");
        ushort window = device.Welcome!.Window;
        Assert.Equal(64, window);
        byte[] body = RawDevice.DataBody(paddingBytes: 16_000);
        for (uint sequence = 1; sequence <= 60; sequence++)
            await device.SendAsync(FrameType.Data, sequence, body);
        TakenRecord[] taken = await rig.TakeAsync(60);
        Assert.False(rig.Buffer.IsFull);
        await device.SendAsync(FrameType.Data, 61, body);
        taken = [.. taken, .. await rig.TakeAsync(1)];
        Assert.True(rig.Buffer.IsFull);
        rig.Confirm(taken[0]);
        Assert.Equal(0, (await device.ExpectAckAsync(1)).Window);

        // Sent under the window of before, which a smaller one does not take back: still read, and PING is answered.
        for (uint sequence = 62; sequence <= 64; sequence++)
            await device.SendAsync(FrameType.Data, sequence, body);
        taken = [.. taken, .. await rig.TakeAsync(3)];
        Assert.Empty(await device.PingAsync());

        using RawDevice other = await rig.OpenAsync("d2");
        Assert.Equal(0, other.Welcome!.Window);
        Assert.Empty(await other.PingAsync());
        await other.SendDataAsync(1);
        await device.PingAsync();
        Assert.Null(rig.TryTake());

        rig.Confirm(taken[1..]);
        Assert.True((await other.ExpectAckAsync(0)).Window > 0);
        Assert.Equal("d2", Assert.Single(await rig.TakeAsync(1)).Device);
        Assert.True((await device.ExpectAckAsync(64)).Window > 0);
    }

    [Fact]
    public async Task CapReached_ReadingPausesAndGoesOnWithRoom_NothingIsLost()
    {
        await using var rig = new IngestRig(
            o => (o.MaxBody, o.MaxWindow, o.FramesPerSecond) = (16_384, 1_000, 100_000),
            b => (b.Memory, b.WhenFull) = (2 * RecordChunk.Bytes, WhenFull.DropOldest));
        using RawDevice device = await rig.OpenAsync("d1");
        byte[] body = RawDevice.DataBody(paddingBytes: 16_000);
        for (uint sequence = 1; sequence <= 8; sequence++)
            await device.SendAsync(FrameType.Data, sequence, body);
        TakenRecord[] taken = await rig.TakeAsync(8);
        await device.SendAsync(FrameType.Data, 9, body);
        using (RawDevice other = await rig.OpenAsync("other"))
            await other.PingAsync();
        Assert.Equal(8, rig.Buffer.Records);
        rig.Confirm(taken);
        await device.ExpectAckAsync(8);
        Assert.Equal(9u, (await rig.TakeAsync(1))[0].Sequence);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
    }

    [Fact]
    public async Task DropOldest_DroppedFramesAreNacked()
    {
        await using var rig = new IngestRig(
            o => (o.MaxBody, o.MaxWindow, o.FramesPerSecond) = (16_384, 1_000, 100_000),
            b => (b.Memory, b.WhenFull) = (2 * RecordChunk.Bytes, WhenFull.DropOldest));
        using RawDevice device = await rig.OpenAsync("d1");
        for (uint sequence = 1; sequence <= 9; sequence++)
            await device.SendAsync(FrameType.Data, sequence, RawDevice.DataBody(paddingBytes: 16_000));
        for (uint sequence = 1; sequence <= 4; sequence++)
        {
            ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
            Assert.Equal((sequence, (byte)NackReason.Dropped), (nack.Sequence, nack.Reason));
        }

        Assert.All(await device.PingAsync(), ack => Assert.Equal((FrameType.Ack, 4u), (ack.Type, ack.Sequence)));
        rig.Confirm(await rig.TakeAsync(5));
        await device.ExpectAckAsync(9);
        Assert.Equal(4, rig.Count("iotgw_buffer_dropped_total{reason=buffer-full}"));
    }

    [Fact]
    public async Task DropNewest_ArrivingFrameIsNacked()
    {
        await using var rig = new IngestRig(
            o => (o.MaxBody, o.MaxWindow, o.FramesPerSecond) = (16_384, 1_000, 100_000),
            b => (b.Memory, b.WhenFull) = (2 * RecordChunk.Bytes, WhenFull.DropNewest));
        using RawDevice device = await rig.OpenAsync("d1");
        for (uint sequence = 1; sequence <= 9; sequence++)
            await device.SendAsync(FrameType.Data, sequence, RawDevice.DataBody(paddingBytes: 16_000));
        ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
        Assert.Equal((9u, (byte)NackReason.Dropped), (nack.Sequence, nack.Reason));
        rig.Confirm(await rig.TakeAsync(8));
        await device.ExpectAckAsync(9);
    }

    [Fact]
    public async Task OverrunningDeviceThatIsReset_ItsSessionEnds()
    {
        await using var rig = new IngestRig(o => o.MaxWindow = 1);
        RawDevice device = await rig.OpenAsync("d1");
        await device.SendDataAsync(1);
        TakenRecord[] taken = await rig.TakeAsync(1);
        await device.SendDataAsync(2);
        await device.SendDataAsync(3);
        device.Reset();
        // The reset is noticed when something is to be sent, or read.
        rig.Confirm(taken);
        await IngestRig.UntilAsync(() => rig.Ingest.Connections == 0);
    }

    [Fact]
    public async Task FramesPerSecond_SlowsTheDeviceAndNoOther()
    {
        await using var rig = new IngestRig(o => o.FramesPerSecond = 5);
        using RawDevice device = await rig.OpenAsync("d1");
        for (uint sequence = 1; sequence <= 12; sequence++)
            await device.SendDataAsync(sequence);
        await rig.TakeAsync(5);
        using RawDevice other = await rig.OpenAsync("d2");
        await other.SendDataAsync(1);
        Assert.Equal("d2", Assert.Single(await rig.TakeAsync(1)).Device);
        Assert.Null(rig.TryTake());
        TimeSpan passed = await rig.PassUntilAsync(rig.TakeAsync(7));
        Assert.True(passed >= TimeSpan.FromSeconds(1.4), $"{passed}");
    }
}
