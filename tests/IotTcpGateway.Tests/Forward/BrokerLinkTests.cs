using System.Text;

using IotTcpGateway.Forward;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

public sealed class BrokerLinkTests
{
    // event | one broker | the first of two brokers: then broker (A, B), version, wait in s, "!" if a person must hear
    // of it.
    private const string FromVersion5 = """
        Unreachable      A v5 0-1          B v5 0-1
        Unanswered       A v5? 0-1         A v5? 0-1
        VersionRefused   A v311 now        A v311 now
        Unavailable      A v5 0-1          B v5 0-1
        Unwelcome        A v5 60-120!      B v5 0-1!
        TakenOver        A v5 60-120!      A v5 60-120!
        Closed           A v5 0-1          A v5 0-1
        Lost             A v5 0-1          A v5 0-1
        Overdue          A v5 0-1          A v5 0-1
        Held             A v5 now          A v5 now
        PreferredWell    A v5 now          A v5 now
        """;

    private const string FromVersion5Unanswered = """
        Unreachable      A v5 0-1          B v5 0-1
        Unanswered       A v311 now        A v311 now
        VersionRefused   A v311 now        A v311 now
        Unavailable      A v5 0-1          B v5 0-1
        Unwelcome        A v5 60-120!      B v5 0-1!
        TakenOver        A v5 60-120!      A v5 60-120!
        Closed           A v5 0-1          A v5 0-1
        Lost             A v5 0-1          A v5 0-1
        Overdue          A v5 0-1          A v5 0-1
        Held             A v5? now         A v5? now
        PreferredWell    A v5 now          A v5 now
        """;

    private const string FromFallback311 = """
        Unreachable      A v5 0-1          B v5 0-1
        Unanswered       A v5 0-1          B v5 0-1
        VersionRefused   A v5 60-120!      B v5 0-1!
        Unavailable      A v5 0-1          B v5 0-1
        Unwelcome        A v5 60-120!      B v5 0-1!
        TakenOver        A v5 60-120!      A v5 60-120!
        Closed           A v5 0-1          A v5 0-1
        Lost             A v5 0-1          A v5 0-1
        Overdue          A v5 0-1          A v5 0-1
        Held             A v311 now        A v311 now
        PreferredWell    A v5 now          A v5 now
        """;

    private const string FromConfigured311 = """
        Unreachable      A v311 0-1        B v311 0-1
        Unanswered       A v311 0-1        B v311 0-1
        VersionRefused   A v311 60-120!    B v311 0-1!
        Unavailable      A v311 0-1        B v311 0-1
        Unwelcome        A v311 60-120!    B v311 0-1!
        TakenOver        A v311 60-120!    A v311 60-120!
        Closed           A v311 0-1        A v311 0-1
        Lost             A v311 0-1        A v311 0-1
        Overdue          A v311 0-1        A v311 0-1
        Held             A v311 now        A v311 now
        PreferredWell    A v311 now        A v311 now
        """;

    [Fact]
    public void Next_EveryEvent_IsTheTable()
    {
        LinkState fresh = BrokerLink.Start(wants311: false);
        Assert.Equal(FromVersion5, TableFrom(fresh, wants311: false), ignoreLineEndingDifferences: true);
        Assert.Equal(
            FromVersion5Unanswered,
            TableFrom(fresh with { WasUnanswered = true }, wants311: false),
            ignoreLineEndingDifferences: true);
        Assert.Equal(
            FromFallback311, TableFrom(fresh with { Is311 = true }, wants311: false), ignoreLineEndingDifferences: true);
        Assert.Equal(
            FromConfigured311, TableFrom(BrokerLink.Start(wants311: true), wants311: true), ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Next_LinksThatDoNotHold_DoubleTheWaitToThirtySecondsUntilOneHolds()
    {
        LinkState state = BrokerLink.Start(wants311: false);
        var waits = new List<double>();
        for (int i = 0; i < 8; i++)
        {
            (state, LinkAction action) = BrokerLink.Next(state, LinkEvent.Closed, 1, wants311: false);
            waits.Add(action.WaitMax.TotalSeconds);
        }

        Assert.Equal([1, 2, 4, 8, 16, 30, 30, 30], waits);
        (state, _) = BrokerLink.Next(state, LinkEvent.Held, 1, wants311: false);
        (_, LinkAction first) = BrokerLink.Next(state, LinkEvent.Closed, 1, wants311: false);
        Assert.Equal(1, first.WaitMax.TotalSeconds);
    }

    [Fact]
    public void Next_ManyFailures_NeverOverflowsTheWait()
    {
        LinkState state = BrokerLink.Start(wants311: false) with { Failures = int.MaxValue - 1 };
        (_, LinkAction action) = BrokerLink.Next(state, LinkEvent.Unreachable, 2, wants311: false);
        Assert.Equal(BrokerLink.BackOffMax, action.WaitMax);
    }

    [Theory]
    [InlineData("Closed")]
    [InlineData("Lost")]
    [InlineData("Overdue")]
    public void Next_ThirdLinkInARowThatDoesNotHold_TriesTheNextBroker(string name)
    {
        LinkEvent occurred = Enum.Parse<LinkEvent>(name);
        LinkState state = BrokerLink.Start(wants311: false);
        var visited = new List<int>();
        for (int i = 0; i < 4; i++)
        {
            (state, _) = BrokerLink.Next(state, occurred, 2, wants311: false);
            visited.Add(state.Broker);
        }

        Assert.Equal([0, 0, 1, 0], visited);
    }

    [Fact]
    public void Next_PreferredWell_ForgetsFailuresAndVersion()
    {
        var state = new LinkState(1, 7, Is311: true, WasUnanswered: true);
        (state, _) = BrokerLink.Next(state, LinkEvent.PreferredWell, 2, wants311: false);
        Assert.Equal(BrokerLink.Start(wants311: false), state);
    }

    private static string TableFrom(LinkState state, bool wants311)
    {
        var table = new StringBuilder();
        foreach (LinkEvent occurred in Enum.GetValues<LinkEvent>().Where(e => e != LinkEvent.Finished))
        {
            table.Append($"{occurred,-17}");
            table.Append($"{Cell(BrokerLink.Next(state, occurred, 1, wants311)),-18}");
            table.Append($"{Cell(BrokerLink.Next(state, occurred, 2, wants311))}\n");
        }

        return table.ToString().TrimEnd('\n');
    }

    private static string Cell((LinkState State, LinkAction Action) next)
    {
        (LinkState state, LinkAction action) = next;
        string wait = action.WaitMax == TimeSpan.Zero
            ? "now"
            : $"{action.WaitMin.TotalSeconds}-{action.WaitMax.TotalSeconds}";
        return $"{(state.Broker == 0 ? "A" : "B")} v{(state.Is311 ? "311" : "5")}{(state.WasUnanswered ? "?" : "")} "
            + $"{wait}{(action.IsLoud ? "!" : "")}";
    }
}
