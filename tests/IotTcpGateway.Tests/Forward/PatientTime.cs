using System.Threading.Channels;

using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Fake time that knows who sleeps: a test goes on when the code under test has begun to wait.</summary>
internal sealed class PatientTime : FakeTimeProvider
{
    private readonly Channel<TimeSpan> sleepers = Channel.CreateUnbounded<TimeSpan>();

    /// <summary>Sleeps longer than this are deadlines, which only a test that is about them lets pass.</summary>
    public TimeSpan SleepMax { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Time slept since the start of the last <see cref="AdvanceUntilAsync"/>.</summary>
    public TimeSpan Slept { get; private set; }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ITimer timer = base.CreateTimer(callback, state, dueTime, period);
        if (dueTime > TimeSpan.Zero && dueTime <= SleepMax)
            sleepers.Writer.TryWrite(dueTime);
        return timer;
    }

    /// <summary>Lets every sleep pass, one after the other, until the goal is reached.</summary>
    public async Task<T> AdvanceUntilAsync<T>(Task<T> goal)
    {
        Slept = TimeSpan.Zero;
        while (!goal.IsCompleted)
        {
            Task<bool> sleeper = sleepers.Reader.WaitToReadAsync().AsTask();
            await Task.WhenAny(goal, sleeper).WaitAsync(Rig.HangGuard);
            while (!goal.IsCompleted && sleepers.Reader.TryRead(out TimeSpan due))
            {
                Slept += due;
                Advance(due);
            }
        }

        return await goal;
    }

    /// <summary>Waits for the next sleep to begin and lets it pass.</summary>
    public async Task PassSleepAsync()
    {
        TimeSpan due = await sleepers.Reader.ReadAsync().AsTask().WaitAsync(Rig.HangGuard);
        Advance(due);
    }
}
