using IotTcpGateway.Buffer;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public sealed class FillForecastTests
{
    private const long Max = 1_000_000;

    private readonly FakeTimeProvider time = new();
    private readonly FillForecast forecast;

    public FillForecastTests() => forecast = new FillForecast(time, Max);

    [Fact]
    public void SecondsUntilFull_NothingKnownYet_IsNull() => Assert.Null(forecast.SecondsUntilFull(500));

    [Fact]
    public void SecondsUntilFull_SteadyRate_IsWhatIsLeftAtThatRate()
    {
        for (long second = 0; second <= 30; second++)
        {
            double? left = forecast.SecondsUntilFull(second * 1000);
            Assert.Equal(second == 0 ? null : 1000 - second, left);
            time.Advance(TimeSpan.FromSeconds(1));
        }
    }

    [Fact]
    public void SecondsUntilFull_DoesNotGrow_IsNull()
    {
        forecast.SecondsUntilFull(5000);
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Null(forecast.SecondsUntilFull(5000));
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Null(forecast.SecondsUntilFull(4000));
    }

    [Fact]
    public void SecondsUntilFull_RateChanged_OldRateIsForgottenAfterTwoMinutes()
    {
        long bytes = 0;
        for (int second = 0; second < 600; second++)
        {
            forecast.SecondsUntilFull(bytes += 1000);
            time.Advance(TimeSpan.FromSeconds(1));
        }

        for (int second = 0; second < 125; second++)
        {
            forecast.SecondsUntilFull(bytes += 100);
            time.Advance(TimeSpan.FromSeconds(1));
        }

        double left = forecast.SecondsUntilFull(bytes += 100)!.Value;
        Assert.InRange(left, (Max - bytes) / 110.0, (Max - bytes) / 90.0);
    }
}
