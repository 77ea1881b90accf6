using IotTcpGateway.Cli;
using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Cli;

/// <summary>
/// What "iotgw decode" writes of any stream: it never throws, what the stream says reaches no terminal raw, and every
/// frame is shown.
/// </summary>
/// <remarks>Input: a byte of options, then the stream; with bit 0 the checksums are made right first.</remarks>
internal static class DecodeTarget
{
    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte[] stream = input[1..].ToArray();
        if ((input[0] & 1) != 0)
            RightChecksums.Make(stream);
        using var output = new StringWriter();
        bool isRight = FrameExplainer.Explain(stream, output);
        string text = output.ToString();
        Require.That(!text.Any(c => char.IsControl(c) && c != '\n'), "a control character is written raw");
        Require.That(!text.Any(c => c is '\u2028' or '\u2029' or (>= '\u202A' and <= '\u202E')), "the direction of text changes");
        int frames = Frames(stream, out bool isWhole);
        int shown = text.Split('\n').Count(line => line.StartsWith("at byte ", StringComparison.Ordinal));
        Require.That(shown == frames + (isWhole ? 0 : 1), $"{frames} frames, {shown} shown");
        Require.That(isWhole || !isRight, "a broken stream is called right");
    }

    private static int Frames(ReadOnlySpan<byte> stream, out bool isWhole)
    {
        int frames = 0;
        while (!stream.IsEmpty && FrameReader.Read(stream, out Frame frame) == FrameReadResult.Frame)
        {
            frames++;
            stream = stream[frame.Bytes.Length..];
        }

        isWhole = stream.IsEmpty;
        return frames;
    }
}
