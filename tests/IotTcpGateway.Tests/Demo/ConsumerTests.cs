using System.Buffers;
using System.Text;

using IotTcpGateway.Demo;

using Xunit;

namespace IotTcpGateway.Tests.Demo;

public class ConsumerTests
{
    [Fact]
    public void Take_DuplicatesAndDisorder_CountsEachFrameOnce()
    {
        var consumer = new Consumer();
        foreach (int sequence in new[] { 3, 1, 1, 2, 3, 5 })
            Take(consumer, $$"""{"device":"a","boot":1,"seq":{{sequence}}}""");
        Take(consumer, """[{"device":"a","boot":2,"seq":1},{"device":"b","boot":1,"seq":1},{"device":"b","boot":1,"seq":1}]""");
        Assert.Equal(6, consumer.Frames);
        Assert.Equal(3, consumer.Duplicates);
    }

    [Fact]
    public void Percentile_KnownLatencies_IsWithinItsBucket()
    {
        var histogram = new LatencyHistogram();
        for (int i = 1; i <= 1000; i++)
            histogram.Add(TimeSpan.FromMilliseconds(i));
        Assert.InRange(histogram.Percentile(0.5).TotalMilliseconds, 500, 550);
        Assert.InRange(histogram.Percentile(0.99).TotalMilliseconds, 990, 1000);
        Assert.Equal(1000, histogram.Largest.TotalMilliseconds);
        Assert.Equal(1000, histogram.Count);
        Assert.Equal(TimeSpan.Zero, new LatencyHistogram().Percentile(0.5));
    }

    private static void Take(Consumer consumer, string json) =>
        consumer.Take(new ReadOnlySequence<byte>(Encoding.UTF8.GetBytes(json)));
}
