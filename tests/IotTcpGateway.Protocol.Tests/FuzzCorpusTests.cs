using CsCheck;

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

    [Fact]
    public void FrameReaderTarget_DamagedStreams_HoldItsInvariants()
    {
        byte[] stream = [.. Vectors.Valid.Concat(Vectors.Invalid).SelectMany(v => v.Hex("hex"))];
        var damage = Gen.Select(Gen.Int[0, stream.Length - 1], Gen.Byte);
        Gen.Select(Gen.Byte, Gen.Byte.Array[0, 4], damage.Array[0, 5]).Sample(
            (options, pieces, damages) =>
            {
                byte[] damaged = [.. stream];
                foreach ((int at, byte value) in damages)
                    damaged[at] = value;
                FrameReaderTarget.Run([options, (byte)pieces.Length, .. pieces, .. damaged]);
            },
            iter: 5_000);
    }

    [Fact]
    public void Targets_RandomBytes_HoldTheirInvariants() =>
        Gen.Byte.Array[0, 200].Sample(
            input =>
            {
                FrameReaderTarget.Run(input);
                MessagesTarget.RunFromDevice(input);
                MessagesTarget.RunFromGateway(input);
            },
            iter: 50_000);

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
