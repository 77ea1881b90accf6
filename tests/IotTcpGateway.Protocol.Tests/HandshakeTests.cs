using System.Text;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class HandshakeTests
{
    [Fact]
    public void HelloTryRead_EveryPrefixAndOneByteMore_IsMalformed()
    {
        byte[] body = HelloBody();
        Assert.True(Hello.TryRead(body, out _));
        for (int length = 0; length < body.Length; length++)
            Assert.False(Hello.TryRead(body.AsSpan(0, length), out _));
        Assert.False(Hello.TryRead([.. body, 0], out _));
    }

    [Fact]
    public void HelloTryRead_UnknownModeAndFeatures_AreKeptForTheCallerToJudge()
    {
        for (int value = 0; value <= byte.MaxValue; value++)
        {
            byte[] body = HelloBody();
            body[0] = body[1] = (byte)value;
            Assert.True(Hello.TryRead(body, out Hello hello));
            Assert.Equal((byte)hello.Authentication, value);
            Assert.Equal((byte)hello.Features, value);
            Assert.Equal((value & 1) != 0, hello.Features.HasFlag(Features.TaggedFrames));
        }
    }

    [Fact]
    public void HelloTryRead_IdAndFirmwareOfEveryLength_64IsTheMost()
    {
        for (int length = 0; length <= byte.MaxValue; length++)
        {
            string text = new('x', length);
            Assert.Equal(length is >= 1 and <= 64, Hello.TryRead(HelloBody(id: text), out _));
            Assert.Equal(length <= 64, Hello.TryRead(HelloBody(firmware: Encoding.UTF8.GetBytes(text)), out _));
        }
    }

    [Theory]
    [InlineData(0u, "pump-7", "")]
    [InlineData(1u, "local", "")]
    [InlineData(1u, "status", "")]
    [InlineData(1u, ".x", "")]
    [InlineData(1u, "a+b", "")]
    [InlineData(1u, "pump-7", "C328")]
    public void HelloTryRead_AgainstTheRules_IsMalformedAndNotWritten(uint bootId, string id, string firmwareHex)
    {
        byte[] firmware = Convert.FromHexString(firmwareHex);
        Assert.False(Hello.TryRead(HelloBody(bootId, id, firmware), out _));
        Assert.Throws<InvalidOperationException>(() => Write(bootId, id, firmware, 16));
    }

    [Fact]
    public void HelloTryRead_FirmwareWithControlCharacters_IsAllowed() =>
        Assert.True(Hello.TryRead(HelloBody(firmware: "1.4\n\0\u001b"u8.ToArray()), out _));

    [Fact]
    public void HelloWriteBody_TooLongFieldsOrAnotherNonce_Throws()
    {
        Assert.Equal(HelloBody().Length, Write(1, "pump-7", [], 16));
        Assert.Throws<InvalidOperationException>(() => Write(1, new string('x', 65), [], 16));
        Assert.Throws<InvalidOperationException>(() => Write(1, new string('x', 257), [], 16));
        Assert.Throws<InvalidOperationException>(() => Write(1, "pump-7", new byte[65], 16));
        Assert.Throws<InvalidOperationException>(() => Write(1, "pump-7", [], 15));
        Assert.Throws<InvalidOperationException>(() => Write(1, "pump-7", [], 0));
    }

    [Fact]
    public void WelcomeTryRead_AnyOtherLength_IsMalformed()
    {
        for (int length = 0; length <= 100; length++)
            Assert.Equal(length == Welcome.BodyBytes, Welcome.TryRead(new byte[length], out _));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(33)]
    public void WelcomeWriteBody_ProofOfAnotherLength_Throws(int bytes) =>
        Assert.Throws<InvalidOperationException>(() => WelcomeWith(new byte[bytes]).WriteBody(new byte[100]));

    [Fact]
    public void WelcomeWriteBody_WithoutAProof_WritesZerosOverWhatWasThere()
    {
        byte[] body = [.. Enumerable.Repeat((byte)0xFF, Welcome.BodyBytes)];
        WelcomeWith([]).WriteBody(body);
        Assert.Equal(new byte[ProtocolConstants.ProofBytes], body[Welcome.BytesBeforeProof..]);
    }

    [Fact]
    public void Read_BeforeWelcome_TakesNoTagAndNoBodyOver512()
    {
        for (int bodyBytes = 500; bodyBytes <= 530; bodyBytes++)
        {
            var frame = new byte[1024];
            int bytes = FrameWriter.Write(frame, FrameType.Hello, 0, new byte[bodyBytes]);
            FrameReadResult result = FrameReader.Read(frame.AsSpan(0, bytes), 512, 512, false, out _, out _);
            Assert.Equal(bodyBytes <= 512 ? FrameReadResult.Frame : FrameReadResult.BadLength, result);
            // The length is refused with its second byte, the flag with its first.
            result = FrameReader.Read(frame.AsSpan(0, 6), 512, 512, false, out _, out _);
            Assert.Equal(bodyBytes <= 512 ? FrameReadResult.NeedMoreData : FrameReadResult.BadLength, result);
        }

        byte[] tagged = Vectors.Find("data-tagged").Hex("hex");
        for (int length = 0; length <= tagged.Length; length++)
        {
            FrameReadResult result = FrameReader.Read(tagged.AsSpan(0, length), 512, 512, false, out _, out _);
            Assert.Equal(length < 7 ? FrameReadResult.NeedMoreData : FrameReadResult.BadFlags, result);
        }
    }

    private static Welcome WelcomeWith(ReadOnlySpan<byte> proof) => new()
    {
        GatewayTime = 1,
        LastSafeSequence = 2,
        Window = 3,
        LargestBody = 4,
        IdleTimeoutSeconds = 5,
        FeaturesGranted = Features.None,
        GatewayProof = proof,
    };

    private static int Write(uint bootId, string id, byte[] firmware, int nonceBytes) => new Hello
    {
        Authentication = AuthenticationMode.None,
        Features = Features.None,
        BootId = bootId,
        HighestUsed = 0,
        DeviceNonce = new byte[nonceBytes],
        DeviceId = Encoding.UTF8.GetBytes(id),
        Firmware = firmware,
    }.WriteBody(new byte[1024]);

    // Not by the writer under test: it refuses what is malformed.
    private static byte[] HelloBody(uint bootId = 1, string id = "pump-7", byte[]? firmware = null)
    {
        byte[] idBytes = Encoding.UTF8.GetBytes(id);
        firmware ??= [];
        return
        [
            0, 0, .. BitConverter.GetBytes(bootId), 0, 0, 0, 0, .. new byte[16],
            (byte)idBytes.Length, .. idBytes, (byte)firmware.Length, .. firmware,
        ];
    }
}
