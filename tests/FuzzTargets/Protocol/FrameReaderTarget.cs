using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Protocol;

/// <summary>
/// A stream that arrives in pieces: the pieces must not matter, every step goes forward or closes, and no more is held
/// back than one frame.
/// </summary>
/// <remarks>
/// Input: one byte of options, one byte n and n lengths of pieces (less one, taken in turn), then the stream. With
/// option bit 2 the checksums are made right first: no mutation would ever find one.
/// </remarks>
internal static class FrameReaderTarget
{
    private const int ControlFramesOnly = 1, TagsAgreed = 2, ChecksumsMadeRight = 4;

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.Length < 2)
            return;
        byte options = input[0];
        int pieceCount = Math.Min((int)input[1], input.Length - 2);
        ReadOnlySpan<byte> pieces = input.Slice(2, pieceCount);
        byte[] stream = input[(2 + pieceCount)..].ToArray();
        if ((options & ChecksumsMadeRight) != 0)
            RightChecksums.Make(stream);

        var limits = new Limits(options);
        List<Step> atOnce = Walk(stream, limits, pieces: []);
        List<Step> inPieces = Walk(stream, limits, pieces);
        Require.That(atOnce.SequenceEqual(inPieces), "a stream in pieces gives other frames than at once");
    }

    private static List<Step> Walk(ReadOnlySpan<byte> stream, Limits limits, ReadOnlySpan<byte> pieces)
    {
        var steps = new List<Step>();
        int start = 0, available = 0;
        for (int turn = 0; available < stream.Length; turn++)
        {
            int piece = pieces.IsEmpty ? stream.Length : pieces[turn % pieces.Length] + 1;
            available = Math.Min(available + piece, stream.Length);
            // A frame too large to be stored passes by: its end may lie ahead of what has come.
            while (start < available)
            {
                FrameReadResult result = ReadOne(stream[start..available], limits, out int frameBytes);
                if (result == FrameReadResult.NeedMoreData)
                    break;
                steps.Add(new Step(start, result));
                if (result is not (FrameReadResult.Frame or FrameReadResult.BodyTooLarge))
                    return steps;
                Require.That(frameBytes >= ProtocolConstants.FrameBytes(0, tagged: false), "a step without progress");
                start += frameBytes;
            }
        }

        return steps;
    }

    private static FrameReadResult ReadOne(ReadOnlySpan<byte> pending, Limits limits, out int frameBytes)
    {
        FrameReadResult result = FrameReader.Read(
            pending, limits.Legal, limits.Stored, limits.TagsAgreed, out Frame frame, out FrameHeader header);
        frameBytes = header.FrameBytes;
        switch (result)
        {
            case FrameReadResult.NeedMoreData:
                bool isInHeader = pending.Length < ProtocolConstants.HeaderBytes;
                Require.That(isInHeader || pending.Length < header.FrameBytes, "a whole frame asks for more");
                Require.That(isInHeader || header.BodyBytes <= limits.Stored, "a frame too large is waited for");
                break;
            case FrameReadResult.BodyTooLarge:
                Require.That(header.BodyBytes > limits.Stored && header.BodyBytes <= limits.Legal, "not too large");
                break;
            case FrameReadResult.Frame:
                Require.That(frame.Bytes.Length == header.FrameBytes, "a frame of another length than its header's");
                CheckFrame(frame, limits);
                break;
            default:
                Require.That(Enum.IsDefined(result), "an unknown result");
                break;
        }

        return result;
    }

    private static void CheckFrame(in Frame frame, Limits limits)
    {
        FrameHeader header = frame.Header;
        Require.That(header.BodyBytes <= Math.Min(limits.Stored, limits.Legal), "a frame larger than is stored");
        Require.That(!header.IsTagged || limits.TagsAgreed, "a tag that was not agreed");
        var copy = new byte[header.FrameBytes];
        if (header.IsTagged)
            CheckTagged(frame, copy);
        else
            FrameWriter.Write(copy, header.Type, header.Sequence, frame.Body);
        if (!header.IsTagged)
            Require.SameBytes(frame.Bytes, copy, "a frame");
        Messages.Check(header.Type, frame.Body);
    }

    // The tag was made with a key that nobody knows here: what can be held is that a written tag verifies, once.
    private static void CheckTagged(in Frame frame, byte[] copy)
    {
        ReadOnlySpan<byte> key = new byte[ProtocolConstants.ProofBytes];
        using var writing = new FrameTagger(key, FrameDirection.FromDevice);
        using var reading = new FrameTagger(key, FrameDirection.FromDevice);
        FrameWriter.Write(copy, frame.Header.Type, frame.Header.Sequence, frame.Body, writing);
        Require.That(FrameReader.Read(copy, out Frame back) == FrameReadResult.Frame, "a written frame is not read");
        Require.SameBytes(frame.Signed, back.Signed, "a tagged frame");
        Require.That(reading.Verify(back), "a written tag does not verify");
        Require.That(!reading.Verify(back), "a replayed tag verifies");
    }

    private readonly record struct Step(int Start, FrameReadResult Result);

    private readonly struct Limits(byte options)
    {
        public int Legal { get; } = (options & ControlFramesOnly) != 0
            ? ProtocolConstants.ControlBodyBytesMax
            : ProtocolConstants.BodyBytesMax;

        public int Stored { get; } = (options >> 3 & 3) switch
        {
            0 => ProtocolConstants.BodyBytesMax,
            1 => 0,
            2 => 24,
            _ => 300,
        };

        public bool TagsAgreed { get; } = (options & FrameReaderTarget.TagsAgreed) != 0;
    }
}
