using IotTcpGateway.Cli;

using Xunit;

using ZXing;
using ZXing.Common;
using ZXing.QrCode;
using ZXing.QrCode.Internal;

namespace IotTcpGateway.Tests.Cli;

public class QrCodeTests
{
    private const int PixelsOfModule = 4;
    private const int Border = 4;

    [Fact]
    public void Of_EveryLengthThatFits_IsReadByAnotherMakersReader()
    {
        for (int length = 1; length < QrCode.BytesMax; length += length < 60 ? 1 : 7)
            AssertReads(new string([.. Enumerable.Range(0, length).Select(i => (char)('!' + ((i * 31) + length) % 94))]) + "a");
        AssertReads(new string('~', QrCode.BytesMax));
    }

    [Theory]
    [InlineData("itgp://pump-7:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff@192.168.1.5:7183", 37)]
    [InlineData("a", 21)]
    public void Of_ShortText_IsSmall(string text, int size) => Assert.Equal(size, QrCode.Of(text)!.Size);

    [Fact]
    public void Of_TooLong_IsNone() => Assert.Null(QrCode.Of(new string('x', QrCode.BytesMax + 1)));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ToText_HasTheBorderAndEveryModule(bool withColours)
    {
        QrCode code = QrCode.Of("itgp://x")!;
        string[] lines = code.ToText(withColours).Replace("\e[38;5;16;48;5;231m", "").Replace("\e[0m", "").TrimEnd('\n').Split('\n');
        Assert.Equal((code.Size + (2 * Border) + 1) / 2, lines.Length);
        for (int y = -Border; y < code.Size + Border; y++)
        {
            for (int x = -Border; x < code.Size + Border; x++)
            {
                char drawn = lines[(y + Border) / 2][x + Border];
                bool isDrawn = drawn == '█' || drawn == ((y + Border) % 2 == 0 ? '▀' : '▄');
                Assert.Equal(code[x, y], isDrawn == withColours);
            }
        }
    }

    // The reader finds size, format, version and mask by itself.
    private static void AssertReads(string text)
    {
        QrCode code = QrCode.Of(text)!;
        int side = (code.Size + (2 * Border)) * PixelsOfModule;
        byte[] grey = new byte[side * side];
        for (int i = 0; i < grey.Length; i++)
            grey[i] = code[(i % side / PixelsOfModule) - Border, (i / side / PixelsOfModule) - Border] ? (byte)0 : (byte)255;
        var image = new BinaryBitmap(new HybridBinarizer(new RGBLuminanceSource(grey, side, side, RGBLuminanceSource.BitmapFormat.Gray8)));
        Result? read = new QRCodeReader().decode(image, new Dictionary<DecodeHintType, object> { [DecodeHintType.PURE_BARCODE] = true });
        Assert.Equal(text, read?.Text);
        AssertIsWhatAnotherMakesOfIt(text, code);
    }

    // A reader mends what is wrong; this sees every module, for the mask that was chosen.
    private static void AssertIsWhatAnotherMakesOfIt(string text, QrCode code)
    {
        int mask = ((code[2, 8] ? 4 : 0) | (code[3, 8] ? 2 : 0) | (code[4, 8] ? 1 : 0)) ^ 0b101;
        var hints = new Dictionary<EncodeHintType, object> { [EncodeHintType.QR_MASK_PATTERN] = mask };
        ByteMatrix other = Encoder.encode(text, ErrorCorrectionLevel.L, hints).Matrix;
        Assert.Equal(other.Width, code.Size);
        for (int i = 0; i < code.Size * code.Size; i++)
            Assert.True((other[i % code.Size, i / code.Size] == 1) == code[i % code.Size, i / code.Size], $"{text.Length} bytes, module {i}");
    }
}
