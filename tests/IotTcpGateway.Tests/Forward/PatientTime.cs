using System.Threading.Channels;

using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Fake time that knows who sleeps: a test goes on when the code under test has begun to wait.</summary>
internal sealed class PatientTime : FakeTimeProvider
{
    // Longer ones are deadlines, which only a test that is about them lets pass.
    private static readonly TimeSpan SleepMax = TimeSpan.FromSeconds(2);
    private readonly Channel<TimeSpan> sleepers = Channel.CreateUnbounded<TimeSpan>();
    private readonly Channel<TimeSpan> deadlines = Channel.CreateUnbounded<TimeSpan>();

    /// <summary>Time slept since the start of the last <see cref="AdvanceUntilAsync"/>.</summary>
    public TimeSpan Slept { get; private set; }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ITimer timer = base.CreateTimer(callback, state, dueTime, period);
        if (dueTime > TimeSpan.Zero)
            (dueTime <= SleepMax ? sleepers : deadlines).Writer.TryWrite(dueTime);
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

    /// <summary>Waits for a deadline of this length to be set.</summary>
    public async Task DeadlineBeginsAsync(TimeSpan length)
    {
        while (await deadlines.Reader.ReadAsync().AsTask().WaitAsync(Rig.HangGuard) != length)
        {
        }
    }
}
