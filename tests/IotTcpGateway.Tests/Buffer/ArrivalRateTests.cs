using IotTcpGateway.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public class ArrivalRateTests
{
    private const long Start = 1_763_900_000_000;

    [Fact]
    public void BytesPerSecond_SteadyFrames_IsTheirRate()
    {
        ArrivalRate rate = Steady(Start, seconds: 600, bytes: 100);
        Assert.Equal(100, rate.BytesPerSecond!.Value, tolerance: 1);
    }

    [Fact]
    public void BytesPerSecond_LongBacklog_IsOfTheLastHour()
    {
        ArrivalRate rate = Steady(Start, seconds: 7200, bytes: 1000);
        for (int second = 0; second < 3600; second++)
            rate.Add(Start + 7_200_000 + (second * 1000), 10);
        Assert.InRange(rate.BytesPerSecond!.Value, 9, 30);
    }

    [Fact]
    public void BytesPerSecond_NothingOrAMoment_IsUnknown()
    {
        Assert.Null(new ArrivalRate().BytesPerSecond);
        Assert.Null(Steady(Start, seconds: 3, bytes: 100).BytesPerSecond);
    }

    [Fact]
    public void BytesPerSecond_ClockSteppedBack_CountsFromThen()
    {
        ArrivalRate rate = Steady(Start + 86_400_000_000, seconds: 100, bytes: 999);
        for (int second = 0; second < 100; second++)
            rate.Add(Start + (second * 1000), 10);
        Assert.Equal(10, rate.BytesPerSecond!.Value, tolerance: 1);
    }

    [Fact]
    public void Add_TwoLanes_AddUp()
    {
        ArrivalRate rate = Steady(Start, seconds: 600, bytes: 100);
        rate.Add(Steady(Start, seconds: 600, bytes: 50));
        rate.Add(Steady(Start - 86_400_000, seconds: 600, bytes: 7000));
        Assert.Equal(150, rate.BytesPerSecond!.Value, tolerance: 2);
    }

    private static ArrivalRate Steady(long start, int seconds, long bytes)
    {
        var rate = new ArrivalRate();
        for (int second = 0; second < seconds; second++)
            rate.Add(start + (second * 1000), bytes);
        return rate;
    }
}
