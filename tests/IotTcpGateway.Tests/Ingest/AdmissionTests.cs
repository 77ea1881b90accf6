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
        Assert.NotNull(admission.TryEnter(new IPAddress(1), out _));
        Assert.Null(admission.TryEnter(new IPAddress(10_000), out RefuseReason reason));
        Assert.Equal(RefuseReason.RateLimited, reason);
    }

    [Fact]
    public void TryEnter_PlacesHeldHalfOpen_TheOldestMakesRoomOnceItHadItsTime()
    {
        var admission = new Admission(new ListenerOptions { MaxUnauthenticated = 64 }, time);
        Place[] held = [.. Enumerable.Range(1, 64).Select(i => admission.TryEnter(new IPAddress(i), out _)!)];
        Assert.Null(admission.TryEnter(One, out RefuseReason reason));
        Assert.Equal(RefuseReason.TooManyConnections, reason);
        time.Advance(TimeSpan.FromMilliseconds(250));
        Assert.True(admission.TryAuthenticated(held[0], replacesOwn: false));
        Place newer = admission.TryEnter(One, out _)!;
        Assert.NotNull(admission.TryEnter(One, out _));
        // One place was free, and one was made.
        Assert.Equal(PlaceState.CrowdedOut, held[1].State);
        Assert.All(held[2..], place => Assert.Equal(PlaceState.Unauthenticated, place.State));
        Assert.False(admission.TryAuthenticated(held[1], replacesOwn: true));
        Assert.True(admission.TryAuthenticated(newer, replacesOwn: false));
        Assert.Equal(66, admission.Connections);
        foreach (Place place in held)
            admission.Leave(place);
        Assert.Equal(2, admission.Connections);
    }

    [Fact]
    public void TryEnter_AddressThatHoldsItsShare_CrowdsOutItself()
    {
        var admission = new Admission(new ListenerOptions { MaxUnauthenticated = 64 }, time);
        Place other = admission.TryEnter(IPAddress.Loopback, out _)!;
        Place[] own = [.. Enumerable.Range(0, 32).Select(_ => admission.TryEnter(One, out RefuseReason _)!)];
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.NotNull(admission.TryEnter(One, out _));
        Assert.Equal((PlaceState.Unauthenticated, PlaceState.CrowdedOut), (other.State, own[0].State));
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
        if (admission.TryEnter(One, out RefuseReason refused) is not { } place)
            return refused;
        admission.Leave(place);
        return null;
    }
}
