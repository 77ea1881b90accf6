using IotTcpGateway.Health;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public class MemoryKeeperTests
{
    [Fact]
    public void Start_IsOver_GarbageOfTheStartIsGivenBack()
    {
        var time = new FakeTimeProvider();
        using var keeper = new MemoryKeeper(time);
        WeakReference garbage = MakeGarbage();
        time.Advance(TimeSpan.FromSeconds(3));
        Assert.False(garbage.IsAlive);
    }

    [Fact]
    public void Rush_IsOver_WhatItLeftBehindIsGivenBack()
    {
        var time = new FakeTimeProvider();
        using var keeper = new MemoryKeeper(time);
        time.Advance(TimeSpan.FromSeconds(3));
        WeakReference garbage = MakeGarbage();
        time.Advance(TimeSpan.FromSeconds(30));
        Assert.False(garbage.IsAlive);
    }

    // In a method of its own, so that no register of the test holds it. More than what may lie about.
    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static WeakReference MakeGarbage()
    {
        var blocks = new List<byte[]>();
        for (int i = 0; i < 400; i++)
            blocks.Add(new byte[80_000]);
        return new WeakReference(blocks);
    }
}
