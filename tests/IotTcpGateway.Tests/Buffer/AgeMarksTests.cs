using IotTcpGateway.Buffer;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What is told of the age of what is on disk: never older than it is.</summary>
public sealed class AgeMarksTests
{
    private readonly AgeMarks marks = new();

    [Fact]
    public void IdsGivenBy_BetweenMarks_IsTheOlderOne()
    {
        Assert.Equal((0, -1), (marks.IdsGivenBy(1000), marks.LastSeconds));
        marks.Add(10, 60);
        marks.Add(20, 120);
        marks.Add(30, 180);
        Assert.Equal(180, marks.LastSeconds);
        Assert.Equal(
            [(59, 0L), (60, 10), (119, 10), (120, 20), (180, 30), (long.MaxValue, 30)],
            new[] { 59, 60, 119, 120, 180, long.MaxValue }.Select(s => (s, marks.IdsGivenBy(s))));
    }

    [Fact]
    public void Forget_OfWhatIsGone_LeavesWhatIsAskedForStill()
    {
        for (int mark = 1; mark <= 10; mark++)
            marks.Add(mark * 10, mark);
        marks.Forget(55);
        Assert.Equal((0, 50, 100), (marks.IdsGivenBy(4), marks.IdsGivenBy(5), marks.IdsGivenBy(10)));
        marks.Forget(1000);
        Assert.Equal((100, 10), (marks.IdsGivenBy(10), marks.LastSeconds));
    }

    [Fact]
    public void Add_MoreThanAreKept_TellsNothingOlderThanItIs()
    {
        const int count = 20_000;
        for (int mark = 1; mark <= count; mark++)
            marks.Add(mark * 10, mark);
        Assert.Equal(count, marks.LastSeconds);
        long before = 0;
        for (int second = 0; second <= count; second += 7)
        {
            long ids = marks.IdsGivenBy(second);
            Assert.InRange(ids, before, second * 10L);
            before = ids;
        }

        // Coarser where it is old, but still there.
        Assert.True(marks.IdsGivenBy(count / 2) >= count * 4);
    }

    [Fact]
    public void RunTime_Resumed_GoesOnFromTheHighestThatIsKnown()
    {
        var time = new FakeTimeProvider();
        var runTime = new RunTime(time);
        time.Advance(TimeSpan.FromSeconds(5));
        runTime.Resume(100);
        runTime.Resume(70);
        Assert.Equal(105, runTime.Seconds);
        time.Advance(TimeSpan.FromDays(1));
        Assert.Equal(105 + 86_400, runTime.Seconds);
    }
}
