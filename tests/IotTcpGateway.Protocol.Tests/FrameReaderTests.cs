using System.Buffers.Binary;

using CsCheck;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class FrameReaderTests
{
    public static TheoryData<string> ValidNames => [.. Vectors.Valid.Select(v => v.Name())];

    [Theory]
    [MemberData(nameof(ValidNames))]
    public void Read_EveryPrefix_NeedsMoreData(string name)
    {
        byte[] bytes = Vectors.Find(name).Hex("hex");
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.Equal(FrameReadResult.NeedMoreData, FrameReader.Read(bytes.AsSpan(0, length), out _));
        }
    }

    [Theory]
    [MemberData(nameof(ValidNames))]
    public void Read_EverySingleBitFlip_NeverYieldsAFrame(string name)
    {
        byte[] bytes = Vectors.Find(name).Hex("hex");
        for (int bit = 0; bit < bytes.Length * 8; bit++)
        {
            // Bytes follow, as they would in a stream, so that a longer length is fed until it is refused.
            var stream = new byte[ProtocolConstants.FrameBytes(ProtocolConstants.BodyBytesMax, tagged: true)];
            bytes.CopyTo(stream, 0);
            stream[bit / 8] ^= (byte)(1 << (bit % 8));
            FrameReadResult alone = FrameReader.Read(stream.AsSpan(0, bytes.Length), out _);
            bool asksForMore = bit / 8 is 4 or 5 or 6;
            Assert.True(
                alone != FrameReadResult.Frame && (asksForMore || alone != FrameReadResult.NeedMoreData),
                $"bit {bit}: {alone}");
            FrameReadResult fed = FrameReader.Read(stream, out _);
            Assert.True(fed is not (FrameReadResult.Frame or FrameReadResult.NeedMoreData), $"bit {bit}: {fed}");
        }
    }

    [Fact]
    public void Read_AnySplitOfAStream_GivesTheSameFrames()
    {
        byte[] stream = [.. Vectors.Valid.SelectMany(v => v.Hex("hex"))];
        string[] whole = [.. Frames(stream, [])];
        Assert.Equal(Vectors.Valid.Count(), whole.Length);
        for (int cut = 1; cut < stream.Length; cut++)
        {
            Assert.Equal(whole, Frames(stream, [cut]));
        }

        Gen.Int[1, stream.Length - 1].HashSet[0, 60].Sample(
            cuts => Frames(stream, [.. cuts.Order()]).SequenceEqual(whole), iter: 2_000);
    }

    [Fact]
    public void Read_RandomBytes_NeverThrowsAndYieldsNoFrame()
    {
        Gen.Byte.Array[0, 64].Sample(
            random =>
            {
                byte[] withMagic = [0xC7, 0x49, .. random];
                return FrameReader.Read(random, out _) != FrameReadResult.Frame
                    && FrameReader.Read(withMagic, out _) != FrameReadResult.Frame;
            },
            iter: 200_000);
    }

    [Fact]
    public void Bodies_OfRandomBytes_NeverThrow()
    {
        Gen.Byte.Array[0, 80].Sample(
            body =>
            {
                Hello.TryRead(body, out _);
                Welcome.TryRead(body, out _);
                Refuse.TryRead(body, out _);
                Nack.TryRead(body, out _);
                Command.TryRead(body, out _);
                CommandResult.TryRead(body, out _);
                DescribeReader.IsValid(body);
                DataFault fault = DataReader.Check(body, out int records);
                var reader = new DataReader(body);
                int read = 0;
                while (reader.TryRead(out _))
                    read++;
                return fault != DataFault.None || read == records;
            },
            iter: 200_000);
    }

    [Fact]
    public void Read_BodyOverWhatIsStored_IsTooLargeAsSoonAsTheHeaderIsThere()
    {
        byte[] bytes = Vectors.Find("data-all-types").Hex("hex");
        FrameReadResult result =
            FrameReader.Read(bytes.AsSpan(0, 12), 16384, 100, false, out _, out FrameHeader header);
        Assert.Equal(FrameReadResult.BodyTooLarge, result);
        Assert.Equal(197, header.BodyBytes);
    }

    [Fact]
    public void Read_TaggedWhereNoTagsWereAgreed_IsABadFlag()
    {
        byte[] bytes = Vectors.Find("data-tagged").Hex("hex");
        Assert.Equal(FrameReadResult.BadFlags, FrameReader.Read(bytes, 16384, 16384, false, out _, out _));
    }

    [Fact]
    public void Verify_ReplayedDroppedOrReordered_Fails()
    {
        byte[] key = Vectors.Find("data-tagged").Hex("sessionKey");
        var first = new byte[64];
        var second = new byte[64];
        using var signer = new FrameTagger(key, FrameDirection.FromDevice);
        int firstBytes = FrameWriter.Write(first, FrameType.Ping, 1, "a"u8, signer);
        int secondBytes = FrameWriter.Write(second, FrameType.Ping, 2, "b"u8, signer);
        FrameReader.Read(first.AsSpan(0, firstBytes), out Frame one);
        FrameReader.Read(second.AsSpan(0, secondBytes), out Frame two);

        using var inOrder = new FrameTagger(key, FrameDirection.FromDevice);
        Assert.True(inOrder.Verify(one));
        Assert.True(inOrder.Verify(two));
        Assert.False(inOrder.Verify(two));
        using var dropped = new FrameTagger(key, FrameDirection.FromDevice);
        Assert.False(dropped.Verify(two));
        using var otherDirection = new FrameTagger(key, FrameDirection.FromGateway);
        Assert.False(otherDirection.Verify(one));
    }

    [Fact]
    public void Verify_EverySingleBitFlipWithARightChecksum_Fails()
    {
        byte[] whole = Vectors.Find("data-tagged").Hex("hex");
        byte[] key = Vectors.Find("data-tagged").Hex("sessionKey");
        int frames = 0;
        for (int bit = 0; bit < (whole.Length - ProtocolConstants.ChecksumBytes) * 8; bit++)
        {
            byte[] bytes = [.. whole];
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            uint checksum = Crc32C.Compute(bytes.AsSpan(..^4));
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(^4..), checksum);
            if (FrameReader.Read(bytes, out Frame frame) != FrameReadResult.Frame)
                continue;
            frames++;
            using var tagger = new FrameTagger(key, FrameDirection.FromDevice);
            Assert.False(tagger.Verify(frame), $"bit {bit}");
        }

        // Type, sequence, body and tag: whatever the header does not give away.
        Assert.Equal((1 + 4 + 19 + 16) * 8, frames);
    }

    [Fact]
    public void Read_AndVerifyAndDecode_AllocateNothing()
    {
        byte[] plain = Vectors.Find("data-all-types").Hex("hex");
        byte[] tagged = Vectors.Find("data-tagged").Hex("hex");
        using var tagger = new FrameTagger(Vectors.Find("data-tagged").Hex("sessionKey"), FrameDirection.FromDevice);
        DecodeOnce(plain, tagged, tagger);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            DecodeOnce(plain, tagged, tagger);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static int DecodeOnce(byte[] plain, byte[] tagged, FrameTagger tagger)
    {
        FrameReader.Read(plain, out Frame frame);
        DataReader.Check(frame.Body, out int records);
        var reader = new DataReader(frame.Body);
        while (reader.TryRead(out DataRecord record))
            records += record.Value.Length;
        FrameReader.Read(tagged, out Frame second);
        return tagger.Verify(second) ? records : -records;
    }

    private static List<string> Frames(byte[] stream, int[] cuts)
    {
        var frames = new List<string>();
        int start = 0;
        foreach (int available in cuts.Append(stream.Length))
        {
            while (FrameReader.Read(stream.AsSpan(start, available - start), out Frame frame) == FrameReadResult.Frame)
            {
                frames.Add(Convert.ToHexString(frame.Bytes));
                start += frame.Bytes.Length;
            }
        }

        return frames;
    }
}
