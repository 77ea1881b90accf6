using System.Net;

using IotTcpGateway.Ingest;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class AttemptLimitTests
{
    private static readonly IPAddress Here = IPAddress.Parse("192.0.2.1");
    private static readonly IPAddress Elsewhere = IPAddress.Parse("192.0.2.2");

    private readonly FakeTimeProvider time = new();
    private readonly AttemptLimit limit;

    public AttemptLimitTests() => limit = new AttemptLimit(time);

    [Fact]
    public void Failed_ThreeTimes_ThenWaitsOneSecondDoublingToAMinute()
    {
        double[] waits =
        [
            .. Enumerable.Range(0, 12).Select(_ =>
            {
                limit.Failed(Here, "d");
                double wait = limit.Wait(Here, "d").TotalSeconds;
                time.Advance(TimeSpan.FromSeconds(wait));
                Assert.Equal(TimeSpan.Zero, limit.Wait(Here, "d"));
                return wait;
            }),
        ];
        Assert.Equal([0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60], waits);
    }

    [Fact]
    public void Failed_ElsewhereOrAnotherDevice_IsNotDelayed()
    {
        for (int i = 0; i < 100; i++)
            limit.Failed(Here, "d");
        Assert.NotEqual(TimeSpan.Zero, limit.Wait(Here, "d"));
        Assert.Equal(TimeSpan.Zero, limit.Wait(Elsewhere, "d"));
        Assert.Equal(TimeSpan.Zero, limit.Wait(Here, "e"));
    }

    [Fact]
    public void SucceededOrTenMinutes_ForgetsFailures()
    {
        for (int i = 0; i < 5; i++)
            limit.Failed(Here, "d");
        limit.Succeeded(Here, "d");
        Assert.Equal((TimeSpan.Zero, 0), (limit.Wait(Here, "d"), limit.Count));
        for (int i = 0; i < 5; i++)
            limit.Failed(Here, "d");
        time.Advance(TimeSpan.FromMinutes(10));
        limit.Failed(Here, "d");
        Assert.Equal(TimeSpan.Zero, limit.Wait(Here, "d"));
    }

    [Fact]
    public void Failed_MoreThanAreRemembered_TheLongestUnheardOfIsForgotten()
    {
        for (int i = 0; i < 3; i++)
            limit.Failed(Here, "first");
        for (int i = 0; i < AttemptLimit.EntriesMax - 1; i++)
            limit.Failed(Here, $"d{i}");
        Assert.Equal(AttemptLimit.EntriesMax, limit.Count);
        Assert.NotEqual(TimeSpan.Zero, limit.Wait(Here, "first"));
        // Heard of again it is not the oldest any more.
        limit.Failed(Here, "first");
        limit.Failed(Here, "one more");
        Assert.Equal(AttemptLimit.EntriesMax, limit.Count);
        Assert.NotEqual(TimeSpan.Zero, limit.Wait(Here, "first"));
    }
}
