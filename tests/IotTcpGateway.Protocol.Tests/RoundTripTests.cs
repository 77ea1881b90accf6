using System.Text;

using CsCheck;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

/// <summary>What one side writes the other reads, for any fields of any message, with and without tags.</summary>
public class RoundTripTests
{
    private const string NameLetters = "abcXYZ019._-";
    private const long BaseTimeMax = long.MaxValue - (uint.MaxValue * 1000L);

    private static readonly Gen<DataType> AnyType = Gen.Int[1, 13].Select(t => (DataType)t);

    // Of one to four bytes, so that cuts and lengths fall everywhere.
    private static readonly string[] Characters = ["a", "ö", "温", "🌡", "\0", "\n"];

    private static readonly byte[] SessionKey =
        [.. Enumerable.Range(1, ProtocolConstants.ProofBytes).Select(i => (byte)i)];

    private static readonly Gen<byte[]> Id =
        Gen.String[Gen.Char[NameLetters], 1, 64].Where(s => Names.IsDeviceId(Utf8(s))).Select(Utf8);

    private static readonly Gen<byte[]> ChannelName = Gen.String[Gen.Char[NameLetters], 1, 20].Array[1, 3]
        .Select(levels => Utf8(string.Join('/', levels))).Where(name => Names.IsChannelName(name));

    [Fact]
    public void Hello_AnyFields_AreReadBack() =>
        Gen.Select(
            Gen.Byte, Gen.Byte, Gen.UInt.Where(b => b != 0), Gen.UInt, Gen.Byte.Array[16], Id, Text(16)).Sample(
            (mode, features, boot, used, nonce, id, firmware) =>
            {
                byte[] body = Written(room => new Hello
                {
                    Authentication = (AuthenticationMode)mode,
                    Features = (Features)features,
                    BootId = boot,
                    HighestUsed = used,
                    DeviceNonce = nonce,
                    DeviceId = id,
                    Firmware = firmware,
                }.WriteBody(room));
                return Hello.TryRead(Carried(FrameType.Hello, 0, body), out Hello hello)
                    && ((byte)hello.Authentication, (byte)hello.Features, hello.BootId, hello.HighestUsed)
                    == (mode, features, boot, used)
                    && hello.DeviceNonce.SequenceEqual(nonce) && hello.DeviceId.SequenceEqual(id)
                    && hello.Firmware.SequenceEqual(firmware);
            });

    [Fact]
    public void Welcome_AnyFields_AreReadBack() =>
        Gen.Select(Gen.Long, Gen.UInt, Gen.UShort, Gen.UShort, Gen.UShort, Gen.Byte, Gen.Byte.Array[32]).Sample(
            (time, safe, window, largest, idle, features, proof) =>
            {
                byte[] body = Written(room => new Welcome
                {
                    GatewayTime = time,
                    LastSafeSequence = safe,
                    Window = window,
                    LargestBody = largest,
                    IdleTimeoutSeconds = idle,
                    FeaturesGranted = (Features)features,
                    GatewayProof = proof,
                }.WriteBody(room));
                return Welcome.TryRead(Carried(FrameType.Welcome, 0, body), out Welcome read)
                    && (read.GatewayTime, read.LastSafeSequence, read.Window, read.LargestBody)
                    == (time, safe, window, largest)
                    && (read.IdleTimeoutSeconds, (byte)read.FeaturesGranted) == (idle, features)
                    && read.GatewayProof.SequenceEqual(proof);
            });

    [Fact]
    public void Refuse_AnyFields_AreReadBackAndALongTextIsCutBetweenCharacters() =>
        Gen.Select(Gen.Byte, Gen.UShort, Text(300)).Sample((reason, retryAfter, text) =>
        {
            byte[] body = Written(room => new Refuse
            {
                Reason = (RefuseReason)reason,
                RetryAfterSeconds = retryAfter,
                Text = text,
            }.WriteBody(room));
            return Refuse.TryRead(Carried(FrameType.Refuse, 0, body), out Refuse read)
                && ((byte)read.Reason, read.RetryAfterSeconds) == (reason, retryAfter)
                && IsCut(text, read.Text, ProtocolConstants.ControlBodyBytesMax - 3);
        });

    [Fact]
    public void Nack_AnyFields_AreReadBackAndALongTextIsCutBetweenCharacters() =>
        Gen.Select(Gen.Byte, Gen.UInt, Text(300)).Sample((reason, sequence, text) =>
        {
            byte[] body = Written(room => new Nack { Reason = (NackReason)reason, Text = text }.WriteBody(room));
            return Nack.TryRead(Carried(FrameType.Nack, sequence, body), out Nack read)
                && (byte)read.Reason == reason && IsCut(text, read.Text, ProtocolConstants.ControlBodyBytesMax - 1);
        });

    [Fact]
    public void RefuseAndNack_IntoLessRoom_CutTheText()
    {
        byte[] text = Utf8("größer als 温度");
        for (int room = 3; room <= 3 + text.Length; room++)
        {
            var body = new byte[room];
            var written = new Refuse { Reason = RefuseReason.NoMemory, RetryAfterSeconds = 1, Text = text };
            int bytes = written.WriteBody(body);
            Assert.True(Refuse.TryRead(body.AsSpan(0, bytes), out Refuse refuse));
            Assert.True(IsCut(text, refuse.Text, room - 3));
            bytes = new Nack { Reason = NackReason.Dropped, Text = text }.WriteBody(body);
            Assert.True(Nack.TryRead(body.AsSpan(0, bytes), out Nack nack));
            Assert.True(IsCut(text, nack.Text, room - 1));
        }
    }

    [Fact]
    public void Command_AnyFieldsThatFit_AreReadBackAndOthersThrow() =>
        Gen.Select(Text(150), Gen.Byte.Array[0, 520], Gen.UInt).Sample((name, payload, number) =>
        {
            bool fits = name.Length is > 0 and <= 255 && name.Length + payload.Length <= Command.NameAndPayloadBytesMax;
            if (!fits)
            {
                Assert.Throws<InvalidOperationException>(() =>
                    new Command { Name = name, Payload = payload }.WriteBody(new byte[2048]));
                return true;
            }

            byte[] body = Written(room => new Command { Name = name, Payload = payload }.WriteBody(room));
            return body.Length <= ProtocolConstants.ControlBodyBytesMax
                && Command.TryRead(Carried(FrameType.Command, number, body), out Command read)
                && read.Name.SequenceEqual(name) && read.Payload.SequenceEqual(payload);
        });

    [Fact]
    public void Result_AnyFields_AreReadBack() =>
        Gen.Select(Gen.Byte, Gen.Byte.Array[0, 600], Gen.UInt).Sample((status, payload, number) =>
        {
            byte[] body = Written(room => new CommandResult { Status = status, Payload = payload }.WriteBody(room));
            return CommandResult.TryRead(Carried(FrameType.Result, number, body), out CommandResult read)
                && read.Status == status && read.Payload.SequenceEqual(payload);
        });

    [Fact]
    public void Result_PayloadOfTheLargestBody_FitsAndOneMoreThrows()
    {
        var payload = new byte[ProtocolConstants.BodyBytesMax - 3];
        byte[] body = Written(room => new CommandResult { Status = 0, Payload = payload }.WriteBody(room));
        Assert.Equal(ProtocolConstants.BodyBytesMax, body.Length);
        Assert.True(CommandResult.TryRead(body, out _));
        Assert.Throws<InvalidOperationException>(() =>
            new CommandResult { Status = 0, Payload = new byte[payload.Length + 1] }.WriteBody(new byte[20_000]));
    }

    [Fact]
    public void Describe_AnyEntries_AreReadBack() =>
        Gen.Select(Gen.UShort, Gen.Int[1, 13], ChannelName, Text(8)).Array[0, 40].Sample(entries =>
        {
            byte[] body = Written(room =>
            {
                var writer = new DescribeWriter(room);
                foreach ((ushort channel, int type, byte[] name, byte[] unit) in entries)
                    Assert.True(writer.TryAdd(channel, (DataType)type, name, unit));
                return writer.Written;
            });
            ReadOnlySpan<byte> carried = Carried(FrameType.Describe, 0, body);
            Assert.True(DescribeReader.IsValid(carried));
            var reader = new DescribeReader(carried);
            foreach ((ushort channel, int type, byte[] name, byte[] unit) in entries)
            {
                Assert.True(reader.TryRead(out ChannelDescription read));
                Assert.True(read.Channel == channel && (int)read.Type == type);
                Assert.True(read.Name.SequenceEqual(name) && read.Unit.SequenceEqual(unit));
            }

            return !reader.TryRead(out _) && reader.Count == entries.Length;
        });

    [Fact]
    public void Data_AnyRecords_AreReadBack() =>
        Gen.Select(Gen.Long[long.MinValue, BaseTimeMax], Gen.UInt, AnyRecord.Array[1, 40]).Sample(
            (baseTime, sequence, records) =>
            {
                byte[] body = Written(room =>
                {
                    var writer = new DataWriter(room, baseTime);
                    foreach ((ushort channel, DataType type, uint offset, byte[] value) in records)
                        Assert.True(writer.AddRaw(channel, type, offset, value));
                    return writer.Written;
                });
                ReadOnlySpan<byte> carried = Carried(FrameType.Data, sequence, body);
                Assert.Equal(DataFault.None, DataReader.Check(carried, out int count));
                var reader = new DataReader(carried);
                foreach ((ushort channel, DataType type, uint offset, byte[] value) in records)
                {
                    Assert.True(reader.TryRead(out DataRecord read));
                    Assert.True((read.Channel, read.Type, read.OffsetMilliseconds) == (channel, type, offset));
                    Assert.True(read.Value.SequenceEqual(value));
                }

                return !reader.TryRead(out _) && count == records.Length && reader.BaseTime == baseTime;
            });

    [Fact]
    public void AckAndBye_AnyFields_AreReadBack() =>
        Gen.Select(Gen.UInt, Gen.UShort, Gen.Byte, Gen.Bool).Sample((sequence, window, reason, isTagged) =>
        {
            var bytes = new byte[64];
            using FrameTagger? tagger = isTagged ? new FrameTagger(SessionKey, FrameDirection.FromGateway) : null;
            int length = FrameWriter.WriteAck(bytes, sequence, window, tagger);
            Assert.Equal(FrameReadResult.Frame, FrameReader.Read(bytes.AsSpan(0, length), out Frame ack));
            Assert.Equal(new FrameHeader(FrameType.Ack, 2, isTagged, sequence), ack.Header);
            Assert.Equal(window, BitConverter.ToUInt16(ack.Body));
            length = FrameWriter.WriteBye(bytes, (ByeReason)reason, tagger);
            Assert.Equal(FrameReadResult.Frame, FrameReader.Read(bytes.AsSpan(0, length), out Frame bye));
            return bye.Header == new FrameHeader(FrameType.Bye, 1, isTagged, 0) && bye.Body[0] == reason;
        });

    private static Gen<(ushort Channel, DataType Type, uint Offset, byte[] Value)> AnyRecord =>
        Gen.Select(Gen.UShort, AnyType, Gen.UInt, Gen.Byte.Array[0, 40], Text(40)).Select(
            (channel, type, offset, bytes, text) => (channel, type, offset, type switch
            {
                DataType.Bool => [(byte)(offset & 1)],
                DataType.Text => text,
                DataType.Bytes => bytes,
                _ => [.. bytes.Concat(new byte[8]).Take(DataTypes.FixedBytes(type))],
            }));

    private static Gen<byte[]> Text(int charactersMax) =>
        Gen.Int[0, Characters.Length - 1].Array[0, charactersMax]
            .Select(characters => Utf8(string.Concat(characters.Select(i => Characters[i]))))
            .Where(bytes => charactersMax > 64 || bytes.Length <= charactersMax * 2);

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private delegate int BodyWriting(Span<byte> room);

    private static byte[] Written(BodyWriting write)
    {
        var room = new byte[ProtocolConstants.BodyBytesMax];
        return room[..write(room)];
    }

    // The body after a journey in a frame, plain and tagged.
    private static byte[] Carried(FrameType type, uint sequence, byte[] body)
    {
        var bytes = new byte[ProtocolConstants.FrameBytes(body.Length, tagged: true)];
        int length = FrameWriter.Write(bytes, type, sequence, body);
        Assert.Equal(FrameReadResult.Frame, FrameReader.Read(bytes.AsSpan(0, length), out Frame plain));
        Assert.Equal(new FrameHeader(type, body.Length, IsTagged: false, sequence), plain.Header);
        Assert.Equal(body, plain.Body);

        using var writing = new FrameTagger(SessionKey, FrameDirection.FromDevice);
        using var reading = new FrameTagger(SessionKey, FrameDirection.FromDevice);
        Assert.Equal(bytes.Length, FrameWriter.Write(bytes, type, sequence, body, writing));
        Assert.Equal(FrameReadResult.Frame, FrameReader.Read(bytes, out Frame tagged));
        Assert.True(reading.Verify(tagged));
        return tagged.Body.ToArray();
    }

    private static bool IsCut(ReadOnlySpan<byte> text, ReadOnlySpan<byte> read, int room) =>
        text.StartsWith(read) && read.Length <= room
        && (read.Length == text.Length || (read.Length > room - 4 && System.Text.Unicode.Utf8.IsValid(read)));
}
