using System.Net;

using IotTcpGateway.Health;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public class FailedAddressesTests
{
    private static readonly IPAddress One = IPAddress.Parse("192.0.2.1");
    private readonly FakeTimeProvider time = new();
    private readonly FailedAddresses failed;

    public FailedAddressesTests() => failed = new FailedAddresses(time);

    [Fact]
    public void Refused_TooManyFailures_UntilTheMinuteIsOver()
    {
        Fail(One, FailedAddresses.FailuresMax - 1);
        Assert.Equal(TimeSpan.Zero, failed.Refused(One));
        time.Advance(TimeSpan.FromSeconds(20));
        Fail(One, 1);
        Assert.Equal(TimeSpan.FromSeconds(40), failed.Refused(One));
        Assert.Equal(TimeSpan.Zero, failed.Refused(IPAddress.Parse("192.0.2.2")));
        time.Advance(TimeSpan.FromSeconds(40));
        Assert.Equal(TimeSpan.Zero, failed.Refused(One));
        Assert.Equal(0, failed.Count);
    }

    [Theory]
    [InlineData("::ffff:192.0.2.1", "192.0.2.1", true)]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    public void Refused_OfTheSameNetwork_IsTheSame(string fails, string asks, bool isSame)
    {
        Fail(IPAddress.Parse(fails), FailedAddresses.FailuresMax);
        Assert.Equal(isSame, failed.Refused(IPAddress.Parse(asks)) > TimeSpan.Zero);
    }

    [Fact]
    public void Add_MoreAddressesThanAreKept_OldestGoes()
    {
        Fail(One, FailedAddresses.FailuresMax);
        for (int i = 0; i < FailedAddresses.AddressesMax - 1; i++)
            failed.Add(new IPAddress([10, 0, (byte)(i >> 8), (byte)i]));
        Assert.NotEqual(TimeSpan.Zero, failed.Refused(One));
        failed.Add(IPAddress.Parse("192.0.2.9"));
        Assert.Equal(FailedAddresses.AddressesMax, failed.Count);
        Assert.Equal(TimeSpan.Zero, failed.Refused(One));
    }

    private void Fail(IPAddress address, int times)
    {
        for (int i = 0; i < times; i++)
            failed.Add(address);
    }
}
