using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class MemoryTests
{
    // A body of the rig has 19 bytes, a kept frame 39: six fit into 256.
    private const int MemoryBytes = 256;
    private const int Fits = 6;

    [Fact]
    public async Task Wait_MemoryFull_TrySendSaysNo()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes });
        rig.Send(1, Fits);
        Assert.False(rig.Client.TrySend(Rig.Body(7), out ulong number));
        Assert.Equal(0ul, number);
        Assert.Equal((Fits, Fits * 39), (rig.Client.Status.KeptFrames, rig.Client.Status.KeptBytes));
    }

    [Fact]
    public async Task Wait_MemoryFull_SendWaitsForRoomFirstComeFirstServed()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes });
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = Fits });
        rig.Send(1, Fits);
        Task<ulong> seventh = rig.Client.SendAsync(Rig.Body(7)).AsTask();
        Task<ulong> eighth = rig.Client.SendAsync(Rig.Body(8)).AsTask();
        await connection.ReceiveDataAsync(Fits);
        Assert.False(seventh.IsCompleted);
        await connection.AckAsync(1, Fits);
        Assert.Equal(7ul, await Guard.Limit(seventh));
        Assert.False(eighth.IsCompleted);
        // There is room for nobody: and if there were, nobody overtakes who waits.
        Assert.False(rig.Client.TrySend(Rig.Body(9), out _));
        await connection.AckAsync(2, Fits);
        Assert.Equal(8ul, await Guard.Limit(eighth));
        await Rig.ExpectDataAsync(connection, 7, 8);
    }

    [Fact]
    public async Task Wait_SendCancelled_HandsNothingOverAndLetsTheNextIn()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes });
        rig.Send(1, Fits);
        using var cancellation = new CancellationTokenSource();
        Task<ulong> large = rig.Client.SendAsync(new byte[200], cancellation.Token).AsTask();
        // 22 bytes are left: too little for the first in the line, enough for the second.
        Task<ulong> small = rig.Client.SendAsync(new byte[1]).AsTask();
        Assert.False(small.IsCompleted);
        await cancellation.CancelAsync();
        var cancelled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Guard.Limit(large));
        Assert.Equal(cancellation.Token, cancelled.CancellationToken);
        Assert.Equal(7ul, await Guard.Limit(small));
        Assert.Equal(7, rig.Client.Status.Accepted);
    }

    [Fact]
    public async Task Send_CancelledBefore_HandsNothingOver()
    {
        await using var rig = new Rig();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await rig.Client.SendAsync(Rig.Body(1), new CancellationToken(canceled: true)));
        Assert.Equal(0, rig.Client.Status.Accepted);
    }

    [Fact]
    public async Task DropOldest_MemoryFull_GivesUpTheOldestAndSaysSo()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes, WhenFull = WhenFull.DropOldest });
        rig.Send(1, Fits + 4);
        FrameOutcome[] dropped = await rig.OutcomesAsync(4);
        Assert.Equal([1ul, 2, 3, 4], dropped.Select(o => o.Number));
        Assert.All(dropped, o => Assert.Equal(FrameFate.Dropped, o.Fate));
        // The gap tells the gateway that something is missing.
        ScriptedConnection connection = await rig.StartAsync();
        await Rig.ExpectDataAsync(connection, 5, 6, 7, 8, 9, 10);
        await connection.AckAsync(10, 100);
        await Guard.Limit(rig.Client.FlushAsync());
        DeviceClientStatus status = rig.Client.Status;
        Assert.Equal((10, 6, 4, 0), (status.Accepted, status.Acknowledged, status.Dropped, status.KeptFrames));
    }

    [Fact]
    public async Task DropOldest_FrameInFlight_StillCountsInTheWindow()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes, WhenFull = WhenFull.DropOldest });
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = 3 });
        rig.Send(1, Fits);
        await Rig.ExpectDataAsync(connection, 1, 2, 3);
        rig.Send(Fits + 1, count: 2);
        Assert.Equal([1ul, 2], (await rig.OutcomesAsync(2)).Select(o => o.Number));
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(2, 3);
        await Rig.ExpectDataAsync(connection, 4, 5);
        Assert.Empty(await Rig.FenceAsync(connection));
        Assert.False(rig.HasOutcome);
    }

    [Fact]
    public async Task DropOldest_LargeFrame_GivesUpAsManyAsItTakes()
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = MemoryBytes, WhenFull = WhenFull.DropOldest });
        rig.Send(1, Fits);
        Assert.Equal(7ul, await rig.Client.SendAsync(new byte[MemoryBytes - 20]));
        Assert.Equal(Fits, (await rig.OutcomesAsync(Fits)).Length);
        Assert.Equal((1, MemoryBytes), (rig.Client.Status.KeptFrames, rig.Client.Status.KeptBytes));
    }

    [Theory]
    [InlineData(256, 237)]
    [InlineData(100_000, 16_385)]
    public async Task Send_BodyThatCanNeverBeKept_Throws(int memoryBytes, int bodyBytes)
    {
        await using var rig = new Rig(new RigOptions { MemoryBytesMax = memoryBytes });
        Assert.Throws<ArgumentException>(() => rig.Client.TrySend(new byte[bodyBytes], out _));
        await Assert.ThrowsAsync<ArgumentException>(async () => await rig.Client.SendAsync(new byte[bodyBytes]));
        Assert.True(rig.Client.TrySend(new byte[bodyBytes - 1], out _));
    }

    [Fact]
    public async Task Send_LargestBody_Arrives()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        var body = new byte[16_384];
        new Random(1).NextBytes(body);
        for (int i = 0; i < 3; i++)
            Assert.True(rig.Client.TrySend(body, out _));
        for (int i = 0; i < 3; i++)
            Assert.Equal(body, (await connection.ReceiveAsync(Protocol.FrameType.Data)).Body);
    }
}
