using IotTcpGateway.Forward;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

public sealed class SuspicionTests
{
    private static readonly Suspect Record = new(SuspectKind.Record, "pump-7, boot 1, sequence 2");
    private static readonly Suspect OtherRecord = new(SuspectKind.Record, "pump-7, boot 1, sequence 3");
    private static readonly Suspect State = new(SuspectKind.State, "telemetry/gw/pump-7/meta");

    [Fact]
    public void Next_ClosedThreeTimesWithTheRecordAloneAndSomethingConfirmed_GivesItUp() =>
        Assert.Equal([null, null, Record], Outcomes(3, new LinkEnd(LinkEvent.Closed, Record, true, true)));

    [Fact]
    public void Next_BrokerThatConfirmedNothing_NeverCostsARecord() =>
        Assert.All(Outcomes(100, new LinkEnd(LinkEvent.Closed, Record, true, false)), Assert.Null);

    [Fact]
    public void Next_RecordNeverAlone_IsNeverGivenUpButIsolated()
    {
        SuspicionState state = default;
        for (int i = 0; i < 100; i++)
        {
            (state, Suspect? givenUp) = Suspicion.Next(state, new LinkEnd(LinkEvent.Closed, Record, false, true));
            Assert.Null(givenUp);
            Assert.Equal(i >= 1, state.IsProbing);
        }
    }

    [Fact]
    public void Next_AnythingButClosedByTheBroker_ProvesNothing()
    {
        foreach (LinkEvent occurred in Enum.GetValues<LinkEvent>().Where(e => e != LinkEvent.Closed))
        {
            Assert.All(Outcomes(100, new LinkEnd(occurred, Record, true, true)), Assert.Null);
        }
    }

    [Fact]
    public void Next_AnotherRecordInBetween_BeginsAnew()
    {
        var one = new LinkEnd(LinkEvent.Closed, Record, true, true);
        var other = new LinkEnd(LinkEvent.Closed, OtherRecord, true, true);
        Assert.Equal([null, null, null, null, null, Record], Outcomes(one, one, other, one, one, one));
    }

    [Fact]
    public void Next_ClosedWithNothingUnderWay_BeginsAnew()
    {
        var one = new LinkEnd(LinkEvent.Closed, Record, true, true);
        var idle = new LinkEnd(LinkEvent.Closed, null, true, true);
        Assert.Equal([null, null, null, null, null, Record], Outcomes(one, one, idle, one, one, one));
    }

    [Fact]
    public void Next_SilenceInBetween_ForgetsNothing()
    {
        var one = new LinkEnd(LinkEvent.Closed, Record, true, true);
        var silent = new LinkEnd(LinkEvent.Overdue, Record, true, true);
        Assert.Equal([null, null, null, Record], Outcomes(one, silent, one, one));
    }

    [Fact]
    public void Next_StateOldestThreeTimes_IsGivenUpThoughNotAlone() =>
        Assert.Equal([null, null, State], Outcomes(3, new LinkEnd(LinkEvent.Closed, State, false, true)));

    [Fact]
    public void Next_AnswerToACommand_IsNobodysFault()
    {
        var answer = new Suspect(SuspectKind.Answer, "reply/1");
        Assert.All(Outcomes(10, new LinkEnd(LinkEvent.Closed, answer, true, true)), Assert.Null);
    }

    private static List<Suspect?> Outcomes(int times, LinkEnd end) => Outcomes([.. Enumerable.Repeat(end, times)]);

    private static List<Suspect?> Outcomes(params LinkEnd[] ends)
    {
        SuspicionState state = default;
        var outcomes = new List<Suspect?>();
        foreach (LinkEnd end in ends)
        {
            (state, Suspect? givenUp) = Suspicion.Next(state, end);
            outcomes.Add(givenUp);
        }

        return outcomes;
    }
}
