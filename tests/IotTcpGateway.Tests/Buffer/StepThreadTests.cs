using IotTcpGateway.Buffer;
using IotTcpGateway.TestKit;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public sealed class StepThreadTests
{
    private readonly FakeTimeProvider time = new();
    private int steps;

    [Fact]
    public async Task Wake_StepThatWaitsForEver_IsDoneAgain()
    {
        using var thread = new StepThread("test", () => Step(Timeout.InfiniteTimeSpan), time);
        thread.Start();
        for (int expected = 1; expected <= 100; expected++)
        {
            await StepsAsync(expected);
            thread.Wake();
        }

        await StepsAsync(101);
        await thread.StopAsync().WaitAsync(Patience.HangGuard);
        Assert.Equal(101, steps);
    }

    [Fact]
    public async Task Wake_DuringAStep_IsNotLost()
    {
        StepThread? thread = null;
        using var made = new StepThread("test", WakesItself, time);
        thread = made;
        thread.Start();
        await StepsAsync(50);
        await thread.StopAsync().WaitAsync(Patience.HangGuard);
        Assert.Equal(50, steps);

        TimeSpan WakesItself()
        {
            if (steps < 49)
                thread!.Wake();
            return Step(Timeout.InfiniteTimeSpan);
        }
    }

    [Fact]
    public async Task Step_SaysHowLongToWait_IsDoneAgainThen()
    {
        using var thread = new StepThread("test", () => Step(TimeSpan.FromSeconds(5)), time);
        thread.Start();
        await StepsAsync(1);
        // Its timer may not be made yet: then less time than this passes for it.
        TimeSpan passed = TimeSpan.Zero;
        await Patience.UntilAsync(
            () =>
            {
                if (Volatile.Read(ref steps) > 1)
                    return true;
                time.Advance(TimeSpan.FromSeconds(1));
                passed += TimeSpan.FromSeconds(1);
                return false;
            },
            () => "it waits longer than it said");
        Assert.True(passed >= TimeSpan.FromSeconds(5), $"after {passed}");
        await thread.StopAsync().WaitAsync(Patience.HangGuard);
    }

    [Fact]
    public async Task Step_SaysThereIsMore_IsDoneAgainAtOnce()
    {
        using var thread = new StepThread("test", () => Step(TimeSpan.Zero), time);
        thread.Start();
        await StepsAsync(1000);
        await thread.StopAsync().WaitAsync(Patience.HangGuard);
    }

    [Fact]
    public async Task StopAsync_InTheMiddleOfAStep_EndsAfterIt()
    {
        using var gate = new ManualResetEventSlim();
        using var thread = new StepThread("test", LongStep, time);
        thread.Start();
        await StepsAsync(1);
        Task stopped = thread.StopAsync();
        Assert.False(stopped.IsCompleted);
        Assert.True(thread.IsAlive);
        gate.Set();
        await stopped.WaitAsync(Patience.HangGuard);
        await Patience.UntilAsync(() => !thread.IsAlive, () => "the thread lives on");
        Assert.Equal(1, steps);

        TimeSpan LongStep()
        {
            Step(TimeSpan.Zero);
            gate.Wait(Patience.HangGuard);
            return TimeSpan.Zero;
        }
    }

    [Fact]
    public async Task StopAsync_NeverStarted_CompletesAtOnce()
    {
        using var thread = new StepThread("test", () => Step(TimeSpan.Zero), time);
        await thread.StopAsync().WaitAsync(Patience.HangGuard);
        Assert.Equal(0, steps);
    }

    [Fact]
    public async Task Step_Throws_CompletionTellsTheDefect()
    {
        using var thread = new StepThread("test", () => throw new InvalidOperationException("a defect"), time);
        thread.Start();
        InvalidOperationException told = await Assert.ThrowsAsync<InvalidOperationException>(
            () => thread.Completion.WaitAsync(Patience.HangGuard));
        Assert.Equal("a defect", told.Message);
    }

    private TimeSpan Step(TimeSpan wait)
    {
        Interlocked.Increment(ref steps);
        return wait;
    }

    private Task StepsAsync(int count) =>
        Patience.UntilAsync(() => Volatile.Read(ref steps) >= count, () => $"{steps} steps instead of {count}");
}
