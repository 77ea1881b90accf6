using IotTcpGateway.Fuzz.Protocol;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

/// <summary>Every input of the fuzzer's corpus, through the same targets, without a fuzzer.</summary>
public class FuzzCorpusTests
{
    [Theory]
    [InlineData("frame-reader", 40)]
    [InlineData("device-messages", 20)]
    [InlineData("gateway-messages", 4)]
    public void Target_EveryInputOfItsCorpus_HoldsItsInvariants(string target, int inputsAtLeast)
    {
        string[] files = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "corpus", target));
        Assert.True(files.Length >= inputsAtLeast, $"{files.Length} inputs");
        foreach (string file in files)
        {
            Exception? broken = Record.Exception(() => Run(target, File.ReadAllBytes(file)));
            Assert.True(broken is null, $"{file}: {broken}");
        }
    }

    [Fact]
    public void FrameReaderTarget_EveryVectorInEveryPieceSize_HoldsItsInvariants()
    {
        byte[] stream = [.. Vectors.Valid.SelectMany(v => v.Hex("hex"))];
        for (int options = 0; options < 32; options++)
        {
            for (int piece = 0; piece <= byte.MaxValue; piece++)
                FrameReaderTarget.Run([(byte)options, 1, (byte)piece, .. stream]);
        }
    }

    private static void Run(string target, byte[] input)
    {
        switch (target)
        {
            case "frame-reader":
                FrameReaderTarget.Run(input);
                break;
            case "device-messages":
                MessagesTarget.RunFromDevice(input);
                break;
            default:
                MessagesTarget.RunFromGateway(input);
                break;
        }
    }
}
