using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>
/// Acknowledged ⊆ recovered ⊆ attempted, over lives that end in power cuts and kills at any operation.
/// JOURNAL_SEEDS sets how many seeds, JOURNAL_SEED the first one; JOURNAL_SEED alone replays one.
/// </summary>
public class SimulationTests
{
    private const Trouble Most = Trouble.PowerCuts | Trouble.Kills | Trouble.FailingOnce | Trouble.FailingForGood
        | Trouble.FullDisk | Trouble.ReadOnlyDisk;

    [Theory]
    [InlineData((int)Trouble.PowerCuts)]
    [InlineData((int)(Trouble.PowerCuts | Trouble.Kills))]
    [InlineData((int)(Trouble.PowerCuts | Trouble.Kills | Trouble.FailingOnce))]
    [InlineData((int)(Trouble.PowerCuts | Trouble.FullDisk))]
    [InlineData((int)Most)]
    [InlineData((int)(Most | Trouble.BitRot))]
    public void Lives_EverySeed_LoseNothingAcknowledged(int trouble)
    {
        foreach (int seed in Seeds())
        {
            var world = new SimulatedWorld(seed, (Trouble)trouble);
            try
            {
                world.Run(lives: 6);
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"""
                    seed {seed}, {(Trouble)trouble}: {e.Message}
                    replay: JOURNAL_SEED={seed} IotTcpGateway.Journal.Tests -method '*.{nameof(Lives_EverySeed_LoseNothingAcknowledged)}'
                    {e.StackTrace}
                    """);
            }
        }
    }

    private static IEnumerable<int> Seeds()
    {
        int? first = Number("JOURNAL_SEED");
        return Enumerable.Range(first ?? 1, Number("JOURNAL_SEEDS") ?? (first is null ? 300 : 1));
    }

    private static int? Number(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out int number) ? number : null;
}
