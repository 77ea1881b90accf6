using Xunit;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// Acknowledged ⊆ delivered ∪ told, over gateways that end in stops, kills and power cuts at any operation of a bad disk.
/// BUFFER_SEEDS sets how many seeds, BUFFER_SEED the first one; with BUFFER_SEED alone it is the only one.
/// BUFFER_STOPS=1 stops at the first that fails. BUFFER_TRACE, a frame as "device-0/1/17", prints what comes of it.
/// </summary>
// By itself: it takes a core for as long as it runs, and others wait for real sockets.
[CollectionDefinition(nameof(BufferSimulationTests), DisableParallelization = true)]
[Collection(nameof(BufferSimulationTests))]
public sealed class BufferSimulationTests
{
    private const int SeedsUnlessTold = 300;
    private const int FailuresShown = 20;

    [Fact]
    public void Worlds_EverySeed_KeepEveryPromise()
    {
        int? first = Number("BUFFER_SEED");
        int count = Number("BUFFER_SEEDS") ?? (first is null ? SeedsUnlessTold : 1);
        long acknowledged = 0, told = 0;
        bool stops = Number("BUFFER_STOPS") is > 0;
        var failures = new List<string>();
        foreach (int seed in Enumerable.Range(first ?? 1, count))
        {
            var world = new BufferWorld(seed);
            try
            {
                world.Run();
            }
            catch (Exception e)
            {
                failures.Add($"seed {seed}: {e.Message}\n{world}\n{Replay(seed)}\n{e.StackTrace}");
            }

            if (failures.Count > 0 && stops)
                break;
            acknowledged += world.Figures.Acknowledged;
            told += world.Figures.Told;
        }

        if (failures.Count > 0)
            Assert.Fail($"{failures.Count} of {count} seeds failed\n" + string.Join('\n', failures.Take(FailuresShown)));
        // A simulation in which nothing happens proves nothing.
        Assert.True(acknowledged > 0 && (count < 10 || told > 0), $"{acknowledged} acknowledged, {told} gap reports");
    }

    private static string Replay(int seed) =>
        $"replay: BUFFER_SEED={seed} tests/IotTcpGateway.Tests/bin/Release/net10.0/IotTcpGateway.Tests "
        + $"-class '*{nameof(BufferSimulationTests)}'";

    private static int? Number(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out int number) ? number : null;
}
