using IotTcpGateway.Tls;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Tls;

public sealed class HandshakePaceTests : IDisposable
{
    private readonly FakeTimeProvider time = new();
    private readonly HandshakePace pace;

    public HandshakePaceTests() => pace = new HandshakePace(time) { PerSecond = 20 };

    public void Dispose() => pace.Dispose();

    [Fact]
    public async Task Wait_Alone_BeginsAtOnce()
    {
        for (int i = 0; i < 5; i++)
        {
            Task turn = pace.WaitAsync(CancellationToken.None);
            Assert.True(turn.IsCompletedSuccessfully);
            await turn;
            time.Advance(TimeSpan.FromMilliseconds(50));
        }
    }

    [Fact]
    public async Task Wait_Many_BeginInOrderSoManyASecond()
    {
        Task[] turns = [.. Enumerable.Range(0, 64).Select(_ => pace.WaitAsync(CancellationToken.None))];
        for (int begun = 1; begun < turns.Length; begun++)
        {
            Assert.Equal(begun, turns.Count(t => t.IsCompleted));
            time.Advance(TimeSpan.FromMilliseconds(49));
            Assert.False(turns[begun].IsCompleted);
            time.Advance(TimeSpan.FromMilliseconds(1));
            await turns[begun].WaitAsync(TimeSpan.FromSeconds(30));
        }
    }

    [Fact]
    public async Task Wait_GivenUp_CostsNobodyATurn()
    {
        using var stopping = new CancellationTokenSource();
        await pace.WaitAsync(CancellationToken.None);
        Task[] given = [.. Enumerable.Range(0, 500).Select(_ => pace.WaitAsync(stopping.Token))];
        Task last = pace.WaitAsync(CancellationToken.None);
        await stopping.CancelAsync();
        foreach (Task one in given)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one.WaitAsync(TimeSpan.FromSeconds(30)));
        time.Advance(TimeSpan.FromMilliseconds(50));
        await last.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task Wait_AfterAPause_DoesNotRush()
    {
        Task[] turns = [.. Enumerable.Range(0, 50).Select(_ => pace.WaitAsync(CancellationToken.None))];
        // One late tick, as after a machine that stood still: two slots are made up for, no more.
        time.Advance(TimeSpan.FromSeconds(2));
        await turns[1].WaitAsync(TimeSpan.FromSeconds(30));
        Task late = pace.WaitAsync(CancellationToken.None);
        Assert.False(late.IsCompleted);
    }
}
