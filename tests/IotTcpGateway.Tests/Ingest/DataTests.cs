using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class DataTests
{
    [Fact]
    public async Task Data_Confirmed_IsAcknowledgedAndNotBefore()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync("d1", boot: 9);
        await device.SendDataAsync(1, value: 5);
        TakenRecord record = Assert.Single(await rig.TakeAsync(1));
        Assert.Equal(("d1", 9u, 1u), (record.Device, record.Boot, record.Sequence));
        Assert.Equal(RawDevice.DataBody(5), record.Body);
        Assert.Empty(await device.PingAsync());
        rig.Confirm(record);
        ReceivedFrame ack = await device.ExpectAckAsync(1);
        Assert.Equal(64, ack.Window);
        Assert.Equal(1, rig.Ingest.Metrics.FramesReceived);
    }

    [Fact]
    public async Task Data_ConfirmedOutOfOrder_AckWaitsForTheFirst()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        for (uint sequence = 1; sequence <= 3; sequence++)
            await device.SendDataAsync(sequence);
        TakenRecord[] taken = await rig.TakeAsync(3);
        rig.Confirm(taken[2], taken[1]);
        Assert.Empty(await device.PingAsync());
        rig.Confirm(taken[0]);
        // One ACK for all three.
        Assert.Equal(3u, (await device.ExpectAsync(FrameType.Ack)).Sequence);
    }

    [Fact]
    public async Task Data_AckMemory_IsAcknowledgedWhenTaken()
    {
        await using var rig = new IngestRig(buffer: b => b.Ack = AckPolicy.Memory);
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        await device.ExpectAckAsync(1);
        Assert.Equal(1, rig.Buffer.Records);
    }

    [Fact]
    public async Task Data_SequenceZero_IsBye4()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(0);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public async Task Data_Duplicate_IsAcknowledgedOnceSafeAndNotForwardedAgain()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        TakenRecord[] taken = await rig.TakeAsync(1);
        await device.SendDataAsync(1);
        Assert.Empty(await device.PingAsync());
        rig.Confirm(taken);
        await device.ExpectAckAsync(1);
        await device.SendDataAsync(1);
        Assert.Equal(1u, (await device.ExpectAsync(FrameType.Ack)).Sequence);
        Assert.Equal(2, rig.Ingest.Metrics.Duplicates);
        Assert.Null(rig.TryTake());
    }

    [Fact]
    public async Task Data_MalformedDuplicate_IsADuplicate()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        rig.Confirm(await rig.TakeAsync(1));
        await device.ExpectAckAsync(1);
        await device.SendAsync(FrameType.Data, 1, new byte[] { 1, 2, 3 });
        Assert.Equal(1u, (await device.ExpectAsync(FrameType.Ack)).Sequence);
        await device.SendAsync(FrameType.Data, 1, new byte[5_000]);
        Assert.Equal(1u, (await device.ExpectAsync(FrameType.Ack)).Sequence);
        Assert.Equal(0, rig.Ingest.Metrics.FramesRejected);
    }

    [Fact]
    public async Task Data_JumpForward_IsAGapThatHoldsUpNoAck()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        // The first frame of a boot without memory is not a gap.
        await device.SendDataAsync(10);
        await device.SendDataAsync(15);
        // A late frame inside the gap is a duplicate.
        await device.SendDataAsync(12);
        rig.Confirm(await rig.TakeAsync(2));
        await device.ExpectAckAsync(15);
        Assert.Equal((1, 1), (rig.Ingest.Metrics.Gaps, rig.Ingest.Metrics.Duplicates));
    }

    [Fact]
    public async Task Data_Malformed_IsNackedAloneAndHoldsUpNoAck()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        await device.SendAsync(FrameType.Data, 2, new byte[] { 1, 2, 3 });
        ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
        Assert.Equal((2u, (byte)NackReason.MalformedBody, "no record"), (nack.Sequence, nack.Reason, nack.Text));
        await device.SendDataAsync(3);
        rig.Confirm(await rig.TakeAsync(2));
        await device.ExpectAckAsync(3);
        Assert.Equal(1, rig.Count("iotgw_frames_rejected_total{reason=malformed-body}"));
    }

    [Fact]
    public async Task Nacks_AmongFramesConfirmedAtOnce_ComeBeforeAnyAckThatCoversThem()
    {
        const uint pairs = 2_000;
        await using var rig = new IngestRig(o => (o.MaxWindow, o.FramesPerSecond) = (60_000, 1_000_000));
        // The forwarder is as fast as can be, so that an ACK is owed whenever a NACK is.
        rig.Buffer.Added += () => rig.Confirm(rig.TryTake()!);
        using RawDevice device = await rig.OpenAsync();
        byte[] good = RawDevice.DataBody(), bad = new byte[3];
        byte[] burst = [.. Enumerable.Range(0, (int)pairs).SelectMany(i => (byte[])[
            .. RawDevice.FrameOf(FrameType.Data, (uint)(2 * i) + 1, good),
            .. RawDevice.FrameOf(FrameType.Data, (uint)(2 * i) + 2, bad)])];
        Task sent = device.SendAsync(burst);
        uint told = 0, acknowledged = 0;
        while (acknowledged < (2 * pairs) - 1 || told < 2 * pairs)
        {
            ReceivedFrame frame = (await device.ReadAsync())!;
            if (frame.Type == FrameType.Nack)
            {
                Assert.Equal(told + 2, frame.Sequence);
                told = frame.Sequence;
                continue;
            }

            acknowledged = frame.Sequence;
            Assert.True(acknowledged <= told + 1, $"ACK {acknowledged} covers frames whose NACK was not sent; last {told}");
        }

        await sent;
    }

    [Theory]
    [InlineData(4_097)]
    [InlineData(16_384)]
    public async Task Data_LargerThanAccepted_IsSkippedAndNacked(int bytes)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        byte[] body = new byte[bytes];
        await device.SendAsync(FrameType.Data, 1, body);
        ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
        Assert.Equal((1u, (byte)NackReason.BodyTooLarge), (nack.Sequence, nack.Reason));
        // The frame boundary is kept.
        await device.SendDataAsync(2);
        rig.Confirm(await rig.TakeAsync(1));
        await device.ExpectAckAsync(2);
    }

    [Fact]
    public async Task Data_LargerThanAcceptedWithABadChecksum_LosesTheFrameBoundary()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Data, 1, new byte[5_000]);
        frame[2_000] ^= 1;
        await device.SendAsync(frame);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(1, rig.Count("iotgw_frames_rejected_total{reason=bad-crc}"));
    }

    [Fact]
    public async Task Data_Over16Ki_LosesTheFrameBoundary()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Data, 1, new byte[16_384]);
        (frame[4], frame[5]) = (0x01, 0x40);
        await device.SendAsync(frame);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
    }

    [Theory]
    [InlineData(0, 0x00, "bad-magic")]
    [InlineData(2, 0x02, "bad-version")]
    [InlineData(6, 0x01, "bad-flags")]
    [InlineData(7, 0x80, "bad-flags")]
    [InlineData(14, 0x99, "bad-crc")]
    public async Task BadBytes_AfterWelcome_AreBye4AndCounted(int at, byte value, string reason)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Data, 1, RawDevice.DataBody());
        frame[at] = value;
        await device.SendAsync(frame);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(1, rig.Count($"iotgw_frames_rejected_total{{reason={reason}}}"));
        Assert.Equal("bad-" + reason[4..], rig.Board.Snapshot()[0].Reason);
    }

    [Theory]
    [InlineData(FrameType.Hello, 0)]
    [InlineData(FrameType.Auth, 32)]
    [InlineData(FrameType.Ack, 2)]
    [InlineData(FrameType.Command, 3)]
    [InlineData((FrameType)0x0F, 0)]
    [InlineData(FrameType.Ping, 33)]
    [InlineData(FrameType.Pong, 33)]
    [InlineData(FrameType.Bye, 0)]
    [InlineData(FrameType.Bye, 2)]
    [InlineData(FrameType.Describe, 0)]
    [InlineData(FrameType.Describe, 5_000)]
    [InlineData(FrameType.Result, 2)]
    public async Task FrameThatIsNotAllowed_IsBye4(FrameType type, int bodyBytes)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendAsync(type, 0, new byte[bodyBytes]);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
    }

    [Fact]
    public async Task Ping_IsReturnedWithItsBodyAndSequence()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        byte[] body = Enumerable.Range(0, 32).Select(i => (byte)i).ToArray();
        await device.SendAsync(FrameType.Ping, 0xDEADBEEF, body);
        ReceivedFrame pong = await device.ExpectAsync(FrameType.Pong);
        Assert.Equal(0xDEADBEEF, pong.Sequence);
        Assert.Equal(body, pong.Body);
        await device.SendAsync(FrameType.Pong, 5, body);
        Assert.Empty(await device.PingAsync());
    }

    [Fact]
    public async Task Describe_NamesTheFramesThatFollow_AndItsSequenceIsIgnored()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        await device.SendAsync(FrameType.Describe, 99, Describe((1, "temp"), (2, "other"), (1, "temperature")));
        await device.SendDataAsync(2);
        await device.SendAsync(FrameType.Describe, 0, Describe((1, "renamed")));
        await device.SendDataAsync(3);
        TakenRecord[] taken = await rig.TakeAsync(3);
        Assert.Null(taken[0].Channels.Find(1));
        Assert.Equal("temperature", taken[1].Channels.Find(1)!.Name);
        Assert.Equal("renamed", taken[2].Channels.Find(1)!.Name);
        Assert.Equal("other", taken[2].Channels.Find(2)!.Name);
        Assert.Null(taken[2].Channels.Find(3));
        List<DeviceNotice> notices = rig.TakeNotices();
        Assert.True(notices[^1].MetaChanged);
        Assert.Equal(["renamed", "other"], notices[^1].State.Channels!.Channels.Select(c => c.Name));
    }

    [Fact]
    public async Task Describe_BeyondTheLimitOfChannels_IsBye4()
    {
        await using var rig = new IngestRig(devices: d => d.MaxChannels = 2);
        using RawDevice device = await rig.OpenAsync();
        await device.SendAsync(FrameType.Describe, 0, Describe((1, "a"), (2, "b")));
        await device.SendAsync(FrameType.Describe, 0, Describe((2, "c")));
        Assert.Empty(await device.PingAsync());
        await device.SendAsync(FrameType.Describe, 0, Describe((3, "d")));
        await device.ExpectByeAsync(ByeReason.ProtocolError);
    }

    [Fact]
    public async Task Describe_NoMemoryForTables_IsBye5AndItIsLogged()
    {
        await using var rig = new IngestRig(devices: d => d.MaxTableMemory = 500);
        using RawDevice device = await rig.OpenAsync();
        await device.SendAsync(FrameType.Describe, 0, Describe((1, "a"), (2, "b"), (3, "c")));
        await device.ExpectByeAsync(ByeReason.ServerError);
        Assert.Contains(rig.Log, line => line.Id.Id == 1206);
    }

    [Fact]
    public async Task Data_Arrival_IsThatOfBothClocks()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        rig.Time.Advance(TimeSpan.FromMilliseconds(1_234));
        await device.SendDataAsync(1);
        Arrival arrival = (await rig.TakeAsync(1))[0].Arrival;
        Assert.Equal(rig.Time.GetUtcNow().ToUnixTimeMilliseconds(), arrival.UnixMilliseconds);
        Assert.Equal(rig.Clock.MonotonicMicroseconds, arrival.MonotonicMicroseconds);
        Assert.True(arrival.IsSynchronised);
    }

    [Fact]
    public async Task Drop_ByTheForwarder_IsNackedBeforeTheAckThatCoversIt()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync();
        await device.SendDataAsync(1);
        await device.SendDataAsync(2);
        TakenRecord[] taken = await rig.TakeAsync(2);
        rig.Buffer.Drop(taken[1].Handle, DropReason.Refused);
        ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
        Assert.Equal((2u, (byte)NackReason.ValueRefused), (nack.Sequence, nack.Reason));
        rig.Confirm(taken[0]);
        await device.ExpectAckAsync(2);
    }

    [Fact]
    public async Task TaggedSession_EveryFrameIsTaggedBothWays()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"), tags: true);
        Assert.True(device.Welcome!.Tags);
        await device.SendDataAsync(1);
        await device.SendAsync(FrameType.Data, 2, new byte[9_000]);
        await device.SendAsync(FrameType.Data, 3, new byte[3]);
        await device.SendDataAsync(4);
        Assert.Equal(2u, (await device.ExpectAsync(FrameType.Nack)).Sequence);
        Assert.Equal(3u, (await device.ExpectAsync(FrameType.Nack)).Sequence);
        rig.Confirm(await rig.TakeAsync(2));
        await device.ExpectAckAsync(4);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TaggedSession_UntaggedFrame_IsAnAttack(bool isOversized)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"), tags: true);
        byte[] body = isOversized ? new byte[5_000] : RawDevice.DataBody();
        await device.SendAsync(RawDevice.FrameOf(FrameType.Data, 1, body));
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Contains(rig.Log, line => line.Id.Id == 1204);
        Assert.Equal(1, rig.Count("iotgw_frames_rejected_total{reason=untagged-frame}"));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(5_000)]
    public async Task TaggedSession_WrongTagWithARightChecksum_IsAnAttack(int bodyBytes)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"), tags: true);
        using var forger = new FrameTagger(new byte[32], FrameDirection.FromDevice);
        var frame = new byte[ProtocolConstants.FrameBytes(bodyBytes, tagged: true)];
        FrameWriter.Write(frame, FrameType.Data, 1, new byte[bodyBytes], forger);
        await device.SendAsync(frame);
        await device.ExpectByeAsync(ByeReason.ProtocolError);
        Assert.Equal(1, rig.Count("iotgw_frames_rejected_total{reason=bad-tag}"));
    }

    [Fact]
    public async Task Command_IsSentAndItsResultAnswersIt()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync("d1");
        await device.PingAsync();
        rig.Commands.Post(new("d1", "set", "42"u8.ToArray(), null, null));
        ReceivedFrame frame = await device.ExpectAsync(FrameType.Command);
        Assert.True(Command.TryRead(frame.Body, out Command command));
        Assert.Equal("set", Encoding.UTF8.GetString(command.Name));
        Assert.Equal("42", Encoding.UTF8.GetString(command.Payload));
        // An answer to nothing that was asked is ignored.
        await device.SendAsync(FrameType.Result, frame.Sequence + 1, Result(7));
        await device.SendAsync(FrameType.Result, frame.Sequence, Result(7));
        await device.SendAsync(FrameType.Result, frame.Sequence, Result(8));
        await device.PingAsync();
        Assert.True(rig.Commands.Answers.TryRead(out var answer));
        Assert.Equal((7, null), ((int)answer.Status, answer.Error));
        Assert.False(rig.Commands.Answers.TryRead(out _));
    }

    [Fact]
    public async Task Command_NeverAnswered_FailsInTimeAndMakesRoomForOthers()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync("d1");
        await device.PingAsync();
        for (int i = 0; i < 17; i++)
            rig.Commands.Post(new("d1", $"c{i}", [], null, null));
        Assert.True(rig.Commands.Answers.TryRead(out var refused));
        Assert.Equal(("c16", "the device has not answered earlier commands"), (refused.Request.Name, refused.Error));
        await IngestRig.UntilAsync(() =>
        {
            rig.Time.Advance(TimeSpan.FromSeconds(1));
            return rig.Commands.Answers.Count == 16;
        });
        while (rig.Commands.Answers.TryRead(out var expired))
            Assert.Equal("no answer within 60 s", expired.Error);
    }

    [Fact]
    public async Task Command_ConnectionEndsBeforeTheAnswer_IsAnsweredForTheDevice()
    {
        await using var rig = new IngestRig();
        using (RawDevice device = await rig.OpenAsync("d1"))
        {
            await device.PingAsync();
            rig.Commands.Post(new("d1", "set", [], null, null));
            await device.ExpectAsync(FrameType.Command);
        }

        await IngestRig.UntilAsync(() => rig.Commands.Answers.Count == 1);
        Assert.True(rig.Commands.Answers.TryRead(out var answer));
        Assert.Equal("the connection ended before the device answered", answer.Error);
        rig.Commands.Post(new("d1", "set", [], null, null));
        Assert.True(rig.Commands.Answers.TryRead(out answer));
        Assert.Equal("the device is not connected", answer.Error);
    }

    private static byte[] Describe(params (ushort Channel, string Name)[] entries)
    {
        var body = new byte[1_024];
        var writer = new DescribeWriter(body);
        foreach ((ushort channel, string name) in entries)
            writer.TryAdd(channel, DataType.I32, Encoding.UTF8.GetBytes(name), "u"u8);
        return body[..writer.Written];
    }

    private static byte[] Result(byte status)
    {
        var body = new byte[16];
        return body[..new CommandResult { Status = status, Payload = "ok"u8 }.WriteBody(body)];
    }
}
