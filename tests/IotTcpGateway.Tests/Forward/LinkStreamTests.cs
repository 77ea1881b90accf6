using System.Threading.Channels;

using CsCheck;

using IotTcpGateway.Forward;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

public sealed class LinkStreamTests
{
    [Fact]
    public async Task WriteAsync_WhileASendIsUnderWay_GathersAndGoesOutInOne()
    {
        var network = new SlowNetwork();
        await using var stream = new LinkStream(network, 1000);
        Assert.True(Write(stream, [1]).IsCompletedSuccessfully);
        TaskCompletionSource first = await network.NextSendAsync();
        for (byte i = 2; i < 100; i++)
        {
            Assert.True(Write(stream, [i]).IsCompletedSuccessfully);
        }

        first.SetResult();
        (await network.NextSendAsync()).SetResult();
        Assert.Equal(2, network.Sent.Count);
        Assert.Equal(Enumerable.Range(1, 99).Select(i => (byte)i), network.Sent.SelectMany(s => s));
    }

    [Fact]
    public async Task WriteAsync_MoreThanMayWait_WaitsUntilTheNetworkTookIt()
    {
        var network = new SlowNetwork();
        await using var stream = new LinkStream(network, 1000);
        Assert.True(Write(stream, [1]).IsCompletedSuccessfully);
        TaskCompletionSource first = await network.NextSendAsync();
        Assert.True(Write(stream, new byte[LinkStream.PendingBytesMax]).IsCompletedSuccessfully);
        Task waiting = Write(stream, [2]);
        Assert.False(waiting.IsCompleted);
        first.SetResult();
        await waiting.WaitAsync(Rig.HangGuard);
    }

    [Fact]
    public async Task Dispose_WhileAWriterWaits_LetsItGo()
    {
        var network = new SlowNetwork();
        var stream = new LinkStream(network, 1000);
        await Write(stream, [1]);
        await network.NextSendAsync();
        Task waiting = Write(stream, new byte[LinkStream.PendingBytesMax + 1]);
        await stream.DisposeAsync();
        await waiting.WaitAsync(Rig.HangGuard);
    }

    [Fact]
    public async Task WriteAsync_Disconnect_IsDoneOnlyWhenItIsOut()
    {
        // Bug: the client closes right behind it, and what was still gathered never went out: every stop looked like a
        // crash.
        var network = new SlowNetwork();
        await using var stream = new LinkStream(network, 1000);
        await Write(stream, [1]);
        TaskCompletionSource first = await network.NextSendAsync();
        Task goodbye = Write(stream, [0xE0, 0]);
        first.SetResult();
        TaskCompletionSource second = await network.NextSendAsync();
        Assert.False(goodbye.IsCompleted);
        second.SetResult();
        await goodbye.WaitAsync(Rig.HangGuard);
        Assert.Equal([1, 0xE0, 0], network.Sent.SelectMany(s => s));
    }

    [Fact]
    public async Task WriteAsync_AfterAFailedSend_LeavesTheLastWordToTheReader()
    {
        // Bug: a failed send closed the connection, and the DISCONNECT that said why was never read.
        var network = new SlowNetwork { Inbound = [0xE0, 2, 0x8E, 0] };
        await using var stream = new LinkStream(network, 1000);
        await Write(stream, [1]);
        (await network.NextSendAsync()).SetException(new IOException("reset"));
        Assert.True(Write(stream, [2]).IsCompletedSuccessfully);
        byte[] read = new byte[16];
        int bytes = await stream.ReadAsync(read);
        Assert.Equal([0xE0, 2, 0x8E, 0], read[..bytes]);
        Assert.False(network.IsClosed);
    }

    [Fact]
    public void Inspect_PacketsInAnyPieces_TakesAllUpToTheLimitAndNoneBeyond() =>
        (from lengths in Gen.Int[0, 400].Array[0, 6]
         from pieces in Gen.Int[1, 50].Array[1, 400]
         from last in Gen.Int[401, 300_000]
         select (lengths, pieces, last)).Sample(
            sample =>
            {
                byte[] good = [.. sample.lengths.SelectMany(length => (byte[])[0x30, .. Length(length), .. new byte[length]])];
                var guard = new InboundGuard(400);
                Inspect(guard, good, sample.pieces);
                Assert.Throws<InboundPacketTooLargeException>(
                    () => Inspect(guard, [0x30, .. Length(sample.last)], sample.pieces));
            },
            iter: 500);

    [Fact]
    public void Inspect_LengthOfFiveBytes_IsRefused() => Assert.Throws<InboundPacketTooLargeException>(
        () => new InboundGuard(long.MaxValue).Inspect([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]));

    private static Task Write(LinkStream stream, byte[] bytes) => stream.WriteAsync(bytes).AsTask();

    private static void Inspect(InboundGuard guard, ReadOnlySpan<byte> bytes, int[] pieces)
    {
        for (int i = 0; bytes.Length > 0; i++)
        {
            int piece = Math.Min(pieces[i % pieces.Length], bytes.Length);
            guard.Inspect(bytes[..piece]);
            bytes = bytes[piece..];
        }
    }

    private static byte[] Length(int length)
    {
        var bytes = new List<byte>();
        do
        {
            bytes.Add((byte)((length & 0x7F) | (length > 0x7F ? 0x80 : 0)));
            length >>= 7;
        }
        while (length > 0);
        return [.. bytes];
    }

    /// <summary>A network on which each send ends when the test says so.</summary>
    private sealed class SlowNetwork : MemoryStream
    {
        private readonly Channel<TaskCompletionSource> sends = Channel.CreateUnbounded<TaskCompletionSource>();

        public List<byte[]> Sent { get; } = [];

        public byte[] Inbound { get; init; } = [];

        public bool IsClosed { get; private set; }

        public Task<TaskCompletionSource> NextSendAsync() => sends.Reader.ReadAsync().AsTask().WaitAsync(Rig.HangGuard);

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Sent.Add(buffer.ToArray());
            var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            sends.Writer.TryWrite(ended);
            await ended.Task;
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Inbound.CopyTo(buffer);
            return ValueTask.FromResult(Inbound.Length);
        }

        protected override void Dispose(bool disposing)
        {
            IsClosed = true;
            base.Dispose(disposing);
        }
    }
}
