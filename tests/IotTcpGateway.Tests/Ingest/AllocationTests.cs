using System.Net.Sockets;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

// Alone: it measures what the whole process allocates.
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public class AllocationTests
{
    private const int Frames = 20_000;

    [Fact]
    public async Task DataToAck_OverARealSocket_AllocatesNothingPerFrame()
    {
        await using var rig = new IngestRig(
            o => (o.MaxWindow, o.FramesPerSecond) = (60_000, 1_000_000), b => b.WhenFull = WhenFull.DropNewest);
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp)
        {
            ReceiveTimeout = 30_000,
            SendTimeout = 30_000,
        };
        socket.Connect(rig.Endpoint);
        socket.Send(HelloFrame());
        socket.ReceiveExactly(new byte[Welcome.BodyBytes + 16]);

        byte[] first = FramesFrom(1), second = FramesFrom(Frames + 1);
        byte[] received = new byte[4_096];
        Exchange(rig.Buffer, socket, first, received);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        Exchange(rig.Buffer, socket, second, received);
        long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(2 * Frames, rig.Ingest.Metrics.FramesReceived);
        // Chunks' objects, pooled arrays that grow, what the runtime does by itself: some 40 KB at most, however many frames.
        // The smallest object there is, once a frame, would be three times the limit.
        Assert.True(allocated < Frames * 8, $"{allocated} bytes for {Frames} frames");
    }

    [Fact]
    public async Task IdleSession_HoldsNoReadBuffer()
    {
        const int connections = 200;
        await using var rig = new IngestRig(o => o.MaxConnectionsPerAddress = 1_000);
        List<RawDevice> devices = [];
        for (int i = 0; i < connections; i++)
            devices.Add(await rig.OpenAsync($"d{i}"));
        foreach (RawDevice device in devices)
            await device.PingAsync();
        long before = GC.GetTotalMemory(forceFullCollection: true);
        // A frame that has begun is what costs a buffer.
        byte[] start = RawDevice.FrameOf(FrameType.Ping, 1, [])[..5];
        foreach (RawDevice device in devices)
            await device.SendAsync(start);
        await IngestRig.UntilAsync(() => GC.GetTotalMemory(forceFullCollection: true) - before > connections * 3_000L);
        foreach (RawDevice device in devices)
            device.Dispose();
    }

    // The test's own part of it allocates nothing either: the socket is used synchronously.
    private static void Exchange(RecordBuffer buffer, Socket socket, byte[] frames, byte[] received)
    {
        int sent = 0, confirmed = 0;
        var spin = default(SpinWait);
        while (confirmed < Frames)
        {
            if (sent < frames.Length)
                sent += socket.Send(frames.AsSpan(sent, Math.Min(4_096, frames.Length - sent)));
            while (buffer.TryTake(out BufferedRecord record))
            {
                buffer.Confirm(record.Handle);
                confirmed++;
            }

            while (socket.Available > 0)
                socket.Receive(received);
            spin.SpinOnce();
        }
    }

    private static byte[] FramesFrom(uint sequence)
    {
        byte[] body = RawDevice.DataBody();
        return
        [
            .. Enumerable.Range(0, Frames)
                .SelectMany(i => RawDevice.FrameOf(FrameType.Data, sequence + (uint)i, body)),
        ];
    }

    private static byte[] HelloFrame()
    {
        var body = new byte[128];
        int bytes = new Hello
        {
            Authentication = AuthenticationMode.None,
            Features = Features.None,
            BootId = 1,
            HighestUsed = 0,
            DeviceNonce = new byte[16],
            DeviceId = "d1"u8,
            Firmware = default,
        }.WriteBody(body);
        return RawDevice.FrameOf(FrameType.Hello, 0, body.AsSpan(0, bytes));
    }
}

internal static class SocketExtensions
{
    public static void ReceiveExactly(this Socket socket, byte[] bytes)
    {
        for (int received = 0; received < bytes.Length;)
        {
            int now = socket.Receive(bytes.AsSpan(received));
            Assert.True(now > 0);
            received += now;
        }
    }
}
