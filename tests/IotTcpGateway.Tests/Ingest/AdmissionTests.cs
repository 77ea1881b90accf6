using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Ingest;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class AdmissionTests
{
    private static readonly IPAddress One = IPAddress.Parse("192.0.2.1");
    private readonly FakeTimeProvider time = new();

    [Fact]
    public void Count_ExactlyTheLimit_IsNotYetRefused()
    {
        var admission = new Admission(new ListenerOptions { BadFramesPerMinute = 10 }, time);
        for (int i = 0; i < 10; i++)
            Assert.False(admission.Count(One, Misdeed.BadBytes));
        Assert.Null(Enter(admission));
        Assert.True(admission.Count(One, Misdeed.BadBytes));
        Assert.Equal(RefuseReason.RateLimited, Enter(admission));
        // Told once.
        Assert.False(admission.Count(One, Misdeed.BadBytes));
        time.Advance(TimeSpan.FromSeconds(59));
        Assert.Equal(RefuseReason.RateLimited, Enter(admission));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(Enter(admission));
    }

    [Fact]
    public void Count_SlowerThanTheLimit_IsNeverRefused()
    {
        var admission = new Admission(new ListenerOptions { BadFramesPerMinute = 10 }, time);
        for (int i = 0; i < 100; i++)
        {
            Assert.False(admission.Count(One, Misdeed.BadBytes));
            time.Advance(TimeSpan.FromSeconds(7));
        }
    }

    [Theory]
    [InlineData("Violation")]
    [InlineData("FailedProof")]
    public void Count_OtherMisdeeds_HaveLimitsOfTheirOwn(string name)
    {
        Misdeed misdeed = Enum.Parse<Misdeed>(name);
        var admission = new Admission(new ListenerOptions { BadFramesPerMinute = 1 }, time);
        for (int i = 0; i < 300; i++)
            Assert.False(admission.Count(One, misdeed));
        Assert.Null(Enter(admission));
        Assert.True(admission.Count(One, misdeed));
        Assert.Equal(RefuseReason.RateLimited, Enter(admission));
    }

    [Fact]
    public void Count_MoreAddressesThanAreRemembered_StaysBounded()
    {
        var admission = new Admission(new ListenerOptions { BadFramesPerMinute = 0 }, time);
        for (int i = 0; i < 10_000; i++)
            Assert.True(admission.Count(new IPAddress(i + 1), Misdeed.BadBytes));
        Assert.Null(admission.TryEnter(new IPAddress(1)));
        Assert.Equal(RefuseReason.RateLimited, admission.TryEnter(new IPAddress(10_000)));
    }

    [Theory]
    [InlineData(SocketError.ConnectionAborted, "AcceptNext")]
    [InlineData(SocketError.ConnectionReset, "AcceptNext")]
    [InlineData(SocketError.NetworkDown, "AcceptNext")]
    [InlineData(SocketError.AccessDenied, "AcceptNext")]
    [InlineData(SocketError.TooManyOpenSockets, "Pause")]
    [InlineData(SocketError.NoBufferSpaceAvailable, "Pause")]
    [InlineData(SocketError.SocketError, "Pause")]
    [InlineData(SocketError.NotSocket, "GiveUp")]
    [InlineData(SocketError.OperationAborted, "GiveUp")]
    public void AcceptErrors_AreSortedByWhatHelps(SocketError error, string expected) =>
        Assert.Equal(expected, AcceptErrors.Next(error).ToString());

    [Fact]
    public void TokenBucket_Burst_ThenOneByOne()
    {
        var bucket = new TokenBucket(time);
        for (int i = 0; i < 10; i++)
            Assert.Equal(TimeSpan.Zero, bucket.Take(10));
        Assert.Equal(TimeSpan.FromMilliseconds(100), bucket.Take(10));
        time.Advance(TimeSpan.FromMilliseconds(100));
        Assert.Equal(TimeSpan.Zero, bucket.Take(10));
        Assert.NotEqual(TimeSpan.Zero, bucket.Take(10));
        time.Advance(TimeSpan.FromHours(1));
        for (int i = 0; i < 10; i++)
            Assert.Equal(TimeSpan.Zero, bucket.Take(10));
        Assert.NotEqual(TimeSpan.Zero, bucket.Take(10));
    }

    [Fact]
    public void TokenBucket_FastRate_WaitsAtLeastAMillisecond()
    {
        var bucket = new TokenBucket(time);
        while (bucket.Take(5_000) == TimeSpan.Zero)
        {
        }

        Assert.Equal(TimeSpan.FromMilliseconds(1), bucket.Take(5_000));
    }

    private static RefuseReason? Enter(Admission admission)
    {
        RefuseReason? refused = admission.TryEnter(One);
        if (refused is null)
            admission.Leave(One, wasAuthenticated: false);
        return refused;
    }
}
