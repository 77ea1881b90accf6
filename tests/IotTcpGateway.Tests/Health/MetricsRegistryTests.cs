using System.Diagnostics.Metrics;

using IotTcpGateway.Health;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class MetricsRegistryTests : IDisposable
{
    private readonly Meter meter = new("test");
    private readonly MetricsRegistry registry;

    public MetricsRegistryTests() => registry = new MetricsRegistry(meter);

    public void Dispose()
    {
        registry.Dispose();
        meter.Dispose();
    }

    [Fact]
    public void Write_EveryKind_IsPrometheusText()
    {
        Counter<long> counter = meter.CreateCounter<long>("b_total", null, "A counter.");
        counter.Add(2, new KeyValuePair<string, object?>("reason", "x\"y\\z"));
        counter.Add(3, new KeyValuePair<string, object?>("reason", "x\"y\\z"));
        meter.CreateObservableGauge("a", () => 1.5, null, "A gauge.");
        meter.CreateObservableCounter("c_total", () => 7L, null, "An observed counter.");
        Assert.Equal(
            """
            # HELP a A gauge.
            # TYPE a gauge
            a 1.5
            # HELP b_total A counter.
            # TYPE b_total counter
            b_total{reason="x\"y\\z"} 5
            # HELP c_total An observed counter.
            # TYPE c_total counter
            c_total 7

            """,
            registry.Write());
        Assert.Contains("c_total 7\n", registry.Write(), StringComparison.Ordinal);
    }

    [Fact]
    public void Write_Histogram_CountsCumulatively()
    {
        Histogram<double> histogram = meter.CreateHistogram<double>("h_seconds", "s", "A histogram.");
        histogram.Record(0.0005);
        histogram.Record(0.004);
        histogram.Record(10_000);
        string text = registry.Write();
        Assert.Contains("h_seconds_bucket{le=\"0.0005\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("h_seconds_bucket{le=\"0.005\"} 2\n", text, StringComparison.Ordinal);
        Assert.Contains("h_seconds_bucket{le=\"3600\"} 2\n", text, StringComparison.Ordinal);
        Assert.Contains("h_seconds_bucket{le=\"+Inf\"} 3\n", text, StringComparison.Ordinal);
        Assert.Contains("h_seconds_count 3\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_AnotherMeter_IsNotShown()
    {
        using var other = new Meter("other");
        other.CreateCounter<long>("secret_total").Add(1);
        Assert.DoesNotContain("secret_total", registry.Write(), StringComparison.Ordinal);
    }

    [Fact]
    public void Record_SteadyState_AllocatesNothing()
    {
        Histogram<double> histogram = meter.CreateHistogram<double>("h_seconds", "s", "A histogram.");
        histogram.Record(1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            histogram.Record(i);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData(0.5, 2.5)]
    [InlineData(0.99, 2.99)]
    public void Percentile_AllInOneBucket_IsInterpolated(double share, double milliseconds)
    {
        var buckets = new long[SafeBuckets.Bounds.Length + 1];
        buckets[SafeBuckets.IndexOf(0.0025)] = 100;
        Assert.Equal(milliseconds, SafeBuckets.PercentileMilliseconds(buckets, share)!.Value, 3);
    }

    [Fact]
    public void Percentile_Nothing_IsNull() => Assert.Null(SafeBuckets.PercentileMilliseconds(new long[22], 0.5));

    [Fact]
    public void IndexOf_EveryBound_IsInItsOwnBucket()
    {
        for (int i = 0; i < SafeBuckets.Bounds.Length; i++)
        {
            Assert.Equal(i, SafeBuckets.IndexOf(SafeBuckets.Bounds[i]));
            Assert.Equal(i + 1, SafeBuckets.IndexOf(SafeBuckets.Bounds[i] * 1.0001));
        }
    }

    [Fact]
    public void LatencyWindow_ForgetsWhatIsOlderThanAMinute()
    {
        var time = new FakeTimeProvider();
        var buckets = new long[SafeBuckets.Bounds.Length + 1];
        var window = new LatencyWindow(() => (long[])buckets.Clone(), time);
        Assert.Null(window.Read().P50Milliseconds);
        buckets[SafeBuckets.IndexOf(1)] = 10;
        Assert.Equal(1, (int)(window.Read().P99Milliseconds!.Value / 500));
        for (int i = 0; i < 14; i++)
        {
            time.Advance(TimeSpan.FromSeconds(5));
            window.Read();
        }

        Assert.Null(window.Read().P99Milliseconds);
    }
}
