using CsCheck;

using IotTcpGateway.Configuration;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public class QuantitiesTests
{
    [Theory]
    [InlineData("250ms", 250)]
    [InlineData("5s", 5_000)]
    [InlineData("1.5s", 1_500)]
    [InlineData("10m", 600_000)]
    [InlineData("2h", 7_200_000)]
    [InlineData("7d", 604_800_000)]
    [InlineData("0ms", 0)]
    [InlineData("5 s", 5_000)]
    public void TryParseDuration_Right_GivesIt(string text, double milliseconds)
    {
        Assert.True(Quantities.TryParseDuration(text, out TimeSpan duration));
        Assert.Equal(milliseconds, duration.TotalMilliseconds);
    }

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("s")]
    [InlineData("-5s")]
    [InlineData("5 seconds")]
    [InlineData("1e3s")]
    [InlineData("5S")]
    [InlineData("999999999d")]
    public void TryParseDuration_Wrong_IsRefused(string text) => Assert.False(Quantities.TryParseDuration(text, out _));

    [Theory]
    [InlineData("512 KiB", 512 * 1024)]
    [InlineData("8 MiB", 8 * 1024 * 1024)]
    [InlineData("1GiB", 1L << 30)]
    [InlineData("100 B", 100)]
    [InlineData("0.5 MiB", 512 * 1024)]
    public void TryParseSize_Right_GivesIt(string text, long bytes)
    {
        Assert.True(Quantities.TryParseSize(text, out long parsed));
        Assert.Equal(bytes, parsed);
    }

    [Theory]
    [InlineData("8MB")]
    [InlineData("8")]
    [InlineData("8 mib")]
    [InlineData("-1 B")]
    [InlineData("99999999 GiB")]
    public void TryParseSize_Wrong_IsRefused(string text) => Assert.False(Quantities.TryParseSize(text, out _));

    [Fact]
    public void Format_AnyWholeQuantity_ReadsBack()
    {
        Gen.Long[0, 100_000_000_000].Sample(milliseconds =>
            Quantities.TryParseDuration(Quantities.Format(TimeSpan.FromMilliseconds(milliseconds)), out TimeSpan back)
            && back == TimeSpan.FromMilliseconds(milliseconds));
        Gen.Long[0, 1L << 49].Sample(bytes =>
            Quantities.TryParseSize(Quantities.FormatSize(bytes), out long back) && back == bytes);
    }
}
