using Xunit;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// Acknowledged ⊆ delivered ∪ told, over gateways that end in stops, kills and power cuts at any operation of a bad disk.
/// BUFFER_SEEDS sets how many seeds, BUFFER_SEED the first one; with BUFFER_SEED alone it is the only one.
/// </summary>
public sealed class BufferSimulationTests
{
    private const int SeedsUnlessTold = 300;

    [Fact]
    public void Worlds_EverySeed_KeepEveryPromise()
    {
        int? first = Number("BUFFER_SEED");
        int count = Number("BUFFER_SEEDS") ?? (first is null ? SeedsUnlessTold : 1);
        long acknowledged = 0, told = 0;
        foreach (int seed in Enumerable.Range(first ?? 1, count))
        {
            var world = new BufferWorld(seed);
            try
            {
                world.Run();
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"""
                    seed {seed}: {e.Message}
                    {world}
                    replay: BUFFER_SEED={seed} tests/IotTcpGateway.Tests/bin/Release/net10.0/IotTcpGateway.Tests -class '*{nameof(BufferSimulationTests)}'
                    {e}
                    """);
            }

            acknowledged += world.Figures.Acknowledged;
            told += world.Figures.Told;
        }

        // A simulation in which nothing happens proves nothing.
        Assert.True(acknowledged > 0 && (count < 10 || told > 0), $"{acknowledged} acknowledged, {told} gap reports");
    }

    private static int? Number(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out int number) ? number : null;
}
