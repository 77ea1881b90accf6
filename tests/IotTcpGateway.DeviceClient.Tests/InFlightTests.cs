using CsCheck;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class InFlightTests
{
    [Fact]
    public void Operations_AnyOrder_BehaveAsASortedSetDoes()
    {
        Gen.Select(Gen.Int[0, 9], Gen.UInt[0, 300]).Array[1, 500].Sample(
            steps =>
            {
                var model = new SortedSet<uint>();
                var inFlight = new InFlight();
                uint next = 1;
                foreach ((int what, uint sequence) in steps)
                {
                    if (what <= 5)
                    {
                        next += 1 + (sequence % 3);
                        model.Add(next);
                        inFlight.Add(next);
                    }
                    else if (what <= 8)
                    {
                        Assert.Equal(model.Remove(sequence), inFlight.Remove(sequence));
                    }
                    else
                    {
                        model.RemoveWhere(s => s <= sequence / 2);
                        inFlight.RemoveThrough(sequence / 2);
                    }

                    Assert.Equal(model.Count, inFlight.Count);
                }
            },
            iter: 1_000);
    }
}
