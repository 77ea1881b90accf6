using IotTcpGateway.Fuzz;

using Xunit;

namespace IotTcpGateway.Tests.Fuzz;

/// <summary>Every input of the fuzzer's corpus, through the same targets, without a fuzzer.</summary>
public sealed class FuzzCorpusTests
{
    public static TheoryData<string> Targets => [.. FuzzTargets.All.Keys];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Target_EveryInputOfItsCorpus_HoldsItsInvariants(string target)
    {
        string[] files = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "corpus", target));
        Assert.True(files.Length >= 4, $"{files.Length} inputs");
        foreach (string file in files)
        {
            Exception? broken = Record.Exception(() => FuzzTargets.All[target].Run(File.ReadAllBytes(file)));
            Assert.True(broken is null, $"{file}: {broken}");
        }
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void Target_NothingAndLittle_HoldsItsInvariants(string target)
    {
        FuzzTargets.All[target].Run([]);
        for (int value = 0; value <= byte.MaxValue; value += target == "session" ? 51 : 1)
            FuzzTargets.All[target].Run([(byte)value, (byte)value, (byte)value]);
    }
}
