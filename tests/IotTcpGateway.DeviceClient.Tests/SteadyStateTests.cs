using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

[CollectionDefinition(nameof(SteadyStateTests), DisableParallelization = true)]
public class SteadyStateCollection;

/// <summary>What a frame costs once everything runs.</summary>
[Collection(nameof(SteadyStateTests))]
public class SteadyStateTests
{
    [Theory]
    [InlineData(false, WhenFull.Wait)]
    [InlineData(true, WhenFull.Wait)]
    [InlineData(true, WhenFull.DropOldest)]
    public void Custody_FrameTakenSentAndAcknowledged_AllocatesNothing(bool isTold, WhenFull whenFull)
    {
        long told = 0;
        var custody = new Custody(new DeviceClientOptions
        {
            Host = "gateway",
            Port = 1,
            DeviceId = "press-7",
            WhenFull = whenFull,
            OnOutcome = isTold ? _ => told++ : null,
        });
        var session = new Session(new WakeSignal(), window: 64, largestBody: 1_000, isTagged: false);
        Assert.True(custody.TryOpen(session, 0));
        var output = new byte[16_384];
        byte[] body = Rig.Body(1);
        uint sequence = 0;

        void Round(int frames)
        {
            for (int i = 0; i < frames; i++)
                custody.TryAdd(body, out _);
            int bytes = custody.Fill(session, output).Bytes;
            Custody.Seal(output.AsSpan(0, bytes), null);
            sequence += (uint)frames;
            custody.Acknowledge(session, sequence, 64);
        }

        for (int i = 0; i < 200; i++)
            Round(50);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 200; i++)
            Round(50);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(isTold ? sequence : 0, told);
    }

    [Fact]
    public async Task Connection_FramesAndAcksOverASocket_AllocateNoObjectAFrame()
    {
        const int Round = 20_000;
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task gateway = Task.Run(() => AcknowledgeEverything(listener));
        await using (var client = new DeviceClient(new DeviceClientOptions
        {
            Host = "127.0.0.1",
            Port = ((IPEndPoint)listener.LocalEndpoint).Port,
            DeviceId = "press-7",
        }))
        {
            client.Start();
            byte[] body = Rig.Body(1);
            await SendAsync(client, body, Round);
            long before = GC.GetTotalAllocatedBytes(precise: true);
            await SendAsync(client, body, Round);
            long bytes = GC.GetTotalAllocatedBytes(precise: true) - before;
            // The smallest object has 24 bytes; a pool's array on a thread that had none yet is no matter of frames.
            Assert.True(bytes < 10 * Round, $"{bytes} bytes for {Round} frames");
            Assert.Equal(2 * Round, client.Status.Acknowledged);
        }

        await Guard.Limit(gateway);
    }

    private static async Task SendAsync(DeviceClient client, byte[] body, int frames)
    {
        for (int i = 0; i < frames;)
        {
            if (client.TrySend(body, out _))
                i++;
            else
                await Guard.Limit(client.FlushAsync());
        }

        await Guard.Limit(client.FlushAsync());
    }

    // A gateway that itself allocates nothing a frame: it counts DATA frames, all of one size, and acknowledges what
    // came.
    private static void AcknowledgeEverything(TcpListener listener)
    {
        using Socket socket = listener.AcceptSocket();
        socket.NoDelay = true;
        var input = new byte[64 * 1024];
        var output = new byte[128];
        socket.Receive(input);
        var body = new byte[Welcome.BodyBytes];
        new Welcome
        {
            GatewayTime = 0,
            LastSafeSequence = 0,
            Window = 1_000,
            LargestBody = 1_000,
            IdleTimeoutSeconds = 60,
            FeaturesGranted = Features.None,
        }.WriteBody(body);
        socket.Send(output.AsSpan(0, FrameWriter.Write(output, FrameType.Welcome, 0, body)));
        int end = 0;
        while (socket.Receive(input.AsSpan(end)) is > 0 and var count)
        {
            end += count;
            int start = 0;
            uint last = 0;
            while (FrameReader.Read(input.AsSpan(start, end - start), out Frame frame) == FrameReadResult.Frame)
            {
                if (frame.Header.Type == FrameType.Bye)
                    return;
                last = frame.Header.Sequence;
                start += frame.Bytes.Length;
            }

            input.AsSpan(start, end - start).CopyTo(input);
            end -= start;
            if (last == 0)
                continue;
            BinaryPrimitives.WriteUInt16LittleEndian(output.AsSpan(ProtocolConstants.HeaderBytes), 1_000);
            socket.Send(output.AsSpan(0, FrameWriter.Finish(output, FrameType.Ack, last, sizeof(ushort))));
        }
    }
}
