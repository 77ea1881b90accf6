using IotTcpGateway.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public sealed class SpillPolicyTests
{
    [Theory]
    [InlineData(false, 0, 0, false, false, false)]
    [InlineData(false, 1.999, 1.999, false, false, false)]
    [InlineData(false, 2, 2, false, false, true)] // too old and nowhere safe
    [InlineData(false, 0, 3600, false, false, false)] // on disk already: nothing new waits long
    [InlineData(true, 0, 1.999, false, false, false)] // the broker keeps up again
    [InlineData(true, 0, 2, false, false, true)] // a backlog: what comes waits behind it
    [InlineData(true, 0, double.PositiveInfinity, false, false, true)] // on disk alone
    [InlineData(true, 1, 1, false, false, false)]
    [InlineData(false, 0, 0, true, false, true)] // memory is short
    [InlineData(true, 0, 0, true, false, true)]
    [InlineData(false, 0, 0, false, true, true)] // at a stop everything
    public void IsSpilling_ByAgeMemoryAndStop(
        bool was, double unsafeSeconds, double unsettledSeconds, bool isShort, bool isStopping, bool expected)
    {
        var need = new SpillNeed(unsafeSeconds, unsettledSeconds, isShort);
        Assert.Equal(expected, SpillPolicy.IsSpilling(was, need, TimeSpan.FromSeconds(2), isStopping));
    }
}
