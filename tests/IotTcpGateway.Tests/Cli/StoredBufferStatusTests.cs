using System.Text.Json;

using IotTcpGateway.Cli;

using Xunit;

namespace IotTcpGateway.Tests.Cli;

public class StoredBufferStatusTests
{
    private static readonly StoredBufferStatus ByTheFrames =
        new("/buffer", IsInUse: true, 1 << 20, 1 << 30, 1L << 40, BytesPerSecond: 100, SecondsUntilFull: 7200, IsGatewaysWord: false, []);

    [Fact]
    public void With_GatewaySaysHowLong_TakesItsWord()
    {
        StoredBufferStatus status = ByTheFrames.With("""{"buffer":{"disk":{"secondsUntilFull":36000.5}}}""");
        Assert.Equal((36000.5, true), (status.SecondsUntilFull, status.IsGatewaysWord));
        Assert.Contains("10.0 hours (the running gateway says)", Text(status), StringComparison.Ordinal);
    }

    [Fact]
    public void With_GatewaySaysItDoesNotFill_TakesItsWord() => Assert.Contains(
        "it does not fill at present",
        Text(ByTheFrames.With("""{"buffer":{"disk":{"secondsUntilFull":null}}}""")),
        StringComparison.Ordinal);

    [Theory]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("""{"buffer":{"records":1}}""")]
    [InlineData("""{"buffer":{"disk":5}}""")]
    [InlineData("""{"buffer":{"disk":{"secondsUntilFull":"soon"}}}""")]
    public void With_GatewayOfAnotherVersion_KeepsWhatTheFramesSay(string answer) =>
        Assert.Equal(ByTheFrames, ByTheFrames.With(answer));

    [Fact]
    public void With_NoJson_Throws() => Assert.ThrowsAny<JsonException>(() => ByTheFrames.With("ha"));

    [Fact]
    public void Print_ByTheFrames_SaysHoursRateAndSource() => Assert.Contains(
        "2.0 hours at 100 B/s (by the arrivals of the last hour on disk)", Text(ByTheFrames), StringComparison.Ordinal);

    private static string Text(StoredBufferStatus status)
    {
        using var text = new StringWriter();
        status.Print(text);
        return text.ToString();
    }
}
