using System.Text.Json;

using IotTcpGateway.Cli;

using Xunit;

namespace IotTcpGateway.Tests.Cli;

public class FrameExplainerTests
{
    private static readonly JsonElement Vectors = JsonDocument
        .Parse(File.ReadAllText(House.Sources.PathOf("tests/IotTcpGateway.Protocol.Tests/vectors.json"))).RootElement;

    public static TheoryData<string, string> Valid => [.. Of("valid").Select(v => (v.Name, v.Hex))];

    public static TheoryData<string, string> Invalid => [.. Of("invalid").Select(v => (v.Name, v.Hex))];

    [Theory]
    [MemberData(nameof(Valid))]
    public void Explain_PublishedExample_IsRight(string name, string hex)
    {
        (bool isRight, string text) = Explain(Convert.FromHexString(hex));
        Assert.True(isRight, $"{name}: {text}");
        Assert.Contains("CRC right", text, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Invalid))]
    public void Explain_PublishedCounterexample_IsExplainedWithoutAnException(string name, string hex)
    {
        (_, string text) = Explain(Convert.FromHexString(hex));
        Assert.False(string.IsNullOrWhiteSpace(text), name);
    }

    [Fact]
    public void Explain_Stream_ExplainsEveryFrameUpToTheFault()
    {
        byte[] two = [.. Of("valid").Take(2).SelectMany(v => Convert.FromHexString(v.Hex)), 0xFF];
        (bool isRight, string text) = Explain(two);
        Assert.False(isRight);
        Assert.Equal(2, text.Split("CRC right").Length - 1);
        Assert.Contains("no frame begins here", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Explain_EveryPrefixAndFlip_NeverThrows()
    {
        foreach ((_, string hex) in Of("valid"))
        {
            byte[] bytes = Convert.FromHexString(hex);
            for (int length = 0; length < bytes.Length; length++)
                Assert.Equal(length == 0, Explain(bytes.AsSpan(0, length)).IsRight);
            for (int bit = 0; bit < bytes.Length * 8; bit++)
            {
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
                Assert.False(Explain(bytes).IsRight);
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            }
        }
    }

    [Fact]
    public void Explain_ControlCharacters_AreEscaped()
    {
        Span<byte> frame = stackalloc byte[64];
        int bytes = Protocol.FrameWriter.Write(frame, Protocol.FrameType.Nack, 1, [1, 0x1B, (byte)'[', (byte)'2', (byte)'J']);
        Assert.DoesNotContain('\u001b', Explain(frame[..bytes]).Text);
    }

    private static IEnumerable<(string Name, string Hex)> Of(string kind) => Vectors.GetProperty(kind).EnumerateArray()
        .Where(v => v.TryGetProperty("hex", out _))
        .Select(v => (v.GetProperty("name").GetString()!, v.GetProperty("hex").GetString()!));

    private static (bool IsRight, string Text) Explain(ReadOnlySpan<byte> bytes)
    {
        using var output = new StringWriter();
        return (FrameExplainer.Explain(bytes, output), output.ToString());
    }
}
