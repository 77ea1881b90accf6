using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>What was given up is told, on a topic of each device.</summary>
public sealed class GapTests
{
    private static MqttOptions Patient => new() { KeepAlive = TimeSpan.FromHours(1) };

    [Fact]
    public async Task Report_OfDropsBeforeTheLink_IsPublishedAtQos1AndNotRetained()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Qos = 0 }, broker);
        for (uint sequence = 12; sequence <= 90; sequence++)
            rig.Ledger.Add("pump-7", 287_454_020, sequence, DropReason.BufferFull);
        ScriptedLink link = await rig.StartAsync(broker);
        ReceivedPublish report = await link.NextAsync();
        Assert.Equal(("telemetry/gw/pump-7/gaps", false, 1), (report.Topic, report.IsRetained, report.Qos));
        Assert.Equal(
            """{"device":"pump-7","boot":287454020,"from":12,"to":90,"count":79,"reason":"buffer-full","ts":1763900000000}""",
            report.Text);
        Assert.Equal(1, rig.Ledger.ReportsWaiting);
        await rig.AnswerAsync(link, report);
        Assert.Equal(0, rig.Ledger.ReportsWaiting);
        Assert.Equal(1, rig.Gauge("iotgw_gap_reports_published_total"));
        Assert.Equal(1, rig.Gauge("iotgw_ledger_entries_total"));
        Assert.Equal(0, rig.Gauge("iotgw_ledger_entries_forgotten_total"));
    }

    [Theory]
    [InlineData(DropReason.BufferFull, "buffer-full")]
    [InlineData(DropReason.Refused, "refused")]
    [InlineData(DropReason.Expired, "expired")]
    [InlineData(DropReason.Damaged, "damaged")]
    [InlineData(DropReason.Operator, "operator")]
    public void Payload_ClockNotSynchronised_HasNoTime(object reason, string word)
    {
        var report = new GapReport(5, "d", 1, 2, 2, 1, (DropReason)reason, 0);
        Assert.Equal(
            $$"""{"device":"d","boot":1,"from":2,"to":2,"count":1,"reason":"{{word}}"}""",
            System.Text.Encoding.UTF8.GetString(IotTcpGateway.Forward.Payloads.StatusPayloads.Gap(report)));
    }

    [Theory]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/gw/d/gaps")]
    [InlineData("t/{gateway}/{device}/{channel}", "t/gw/d/gaps")]
    [InlineData("{device}/up", "d/up/gaps")]
    public void Topic_HangsUnderTheBase(string template, string topic) =>
        Assert.Equal(topic, new Topics(template, "", "gw").Gaps("d"));

    [Fact]
    public async Task Flood_WhileTheLinkIsUp_IsAReportASecondAndNotOneAFrame()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Patient, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Ledger.Add("d", 1, 1, DropReason.BufferFull);
        await rig.AnswerAsync(link, await link.NextAsync());
        for (uint second = 0; second < 3; second++)
        {
            for (uint i = 0; i < 1000; i++)
                rig.Ledger.Add("d", 1, 2 + (second * 1000) + i, DropReason.BufferFull);
            // The loop has turned, and taken none.
            rig.Add("valve-3");
            ReceivedPublish record = await link.NextAsync();
            Assert.Equal("telemetry/gw/valve-3", record.Topic);
            await rig.AnswerAsync(link, record);
            rig.Time.Advance(GapFeed.RoundInterval);
            ReceivedPublish report = await link.NextAsync();
            Assert.Contains("\"count\":1000", report.Text, StringComparison.Ordinal);
            await rig.AnswerAsync(link, report);
        }

        Assert.Equal(0, rig.Ledger.ReportsWaiting);
    }

    [Fact]
    public async Task LinkLost_Unconfirmed_IsToldAgain()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 1; i <= 3; i++)
            rig.Ledger.Add($"d{i}", 1, 1, DropReason.Refused);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> reports = await link.NextAsync(3);
        Assert.Equal([1, 2, 3], reports.Select(r => r.Topic[^6] - '0'));
        await link.PubAckAsync(reports[1]);
        await Eventually.IsTrueAsync(() => rig.Ledger.ReportsWaiting == 2);
        link.Close();

        link = await rig.AcceptAsync(broker);
        reports = await link.NextAsync(2);
        Assert.Equal(["telemetry/gw/d1/gaps", "telemetry/gw/d3/gaps"], reports.Select(r => r.Topic));
        await link.ConfirmAsync(reports);
        await Eventually.IsTrueAsync(() => rig.Ledger.ReportsWaiting == 0);
        Assert.Equal(3, rig.Gauge("iotgw_gap_reports_published_total"));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    public async Task ManyReports_DoNotHoldUpRecordsNorTheOtherWayRound(ushort window)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 0; i < 200; i++)
        {
            rig.Ledger.Add($"d{i}", 1, 1, DropReason.Refused);
            rig.Add("pump-7", i);
        }

        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: window));
        var topics = new List<string>();
        await link.ServeAsync(m =>
        {
            topics.Add(m.Topic);
            return topics.Count == 400;
        }).WaitAsync(Rig.HangGuard);
        foreach (int seen in new[] { 40, 100, 200 })
        {
            int records = topics.Take(seen).Count(t => t == "telemetry/gw/pump-7");
            Assert.InRange(records, (seen / 2) - 2, (seen / 2) + 2);
        }
    }

    [Fact]
    public async Task ManyReports_UnansweredOnes_LeaveMostOfTheWindowToRecords()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Patient, broker);
        for (int i = 0; i < 100; i++)
            rig.Ledger.Add($"d{i}", 1, 1, DropReason.Refused);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: 100));
        List<ReceivedPublish> reports = await link.NextAsync(GapFeed.InFlightMax);
        rig.Add("pump-7");
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
        await link.PubAckAsync(reports[0]);
        Assert.Equal($"telemetry/gw/d{GapFeed.InFlightMax}/gaps", (await link.NextAsync()).Topic);
    }

    [Theory]
    [InlineData(0x80)]
    [InlineData(0x87)]
    [InlineData(0x97)]
    public async Task RefusedForNow_OnlyItsDeviceWaitsAndIsTriedWithBackOff(byte code)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Patient, broker);
        rig.Ledger.Add("d1", 1, 1, DropReason.Refused);
        rig.Ledger.Add("d1", 2, 1, DropReason.Refused);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> both = await link.NextAsync(2);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 2);
        await link.PubAckAsync(both[0], code);
        await link.PubAckAsync(both[1], code);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 0);
        int others = 0;
        foreach (int seconds in new[] { 1, 2, 4, 8, 16, 32, 60, 60 })
        {
            // Another device's are told meanwhile, to the last moment.
            for (int i = 1; i < seconds; i++)
            {
                rig.Ledger.Add($"other{++others}", 1, 1, DropReason.Refused);
                rig.Time.Advance(TimeSpan.FromSeconds(1));
                ReceivedPublish other = await link.NextAsync();
                Assert.Equal($"telemetry/gw/other{others}/gaps", other.Topic);
                await rig.AnswerAsync(link, other);
            }

            rig.Time.Advance(TimeSpan.FromSeconds(1));
            List<ReceivedPublish> again = await link.NextAsync(2);
            Assert.Equal(both.Select(r => r.Text), again.Select(r => r.Text));
            await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 2);
            await link.PubAckAsync(again[0], code);
            await link.PubAckAsync(again[1], code);
            await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 0);
        }

        Assert.Equal(2, rig.Ledger.ReportsWaiting);
    }

    [Fact]
    public async Task RefusedForGood_TopicIsLeftAloneFromThenOn()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Patient, broker);
        rig.Ledger.Add("d1", 1, 1, DropReason.Refused);
        ScriptedLink link = await rig.StartAsync(broker);
        await rig.AnswerAsync(link, await link.NextAsync(), 0x90);
        Assert.Equal((0, 1), (rig.Ledger.ReportsWaiting, rig.Ledger.EntriesTold));
        rig.Ledger.Add("d1", 1, 2, DropReason.Refused);
        rig.Ledger.Add("d2", 1, 1, DropReason.Refused);
        rig.Time.Advance(GapFeed.RoundInterval);
        ReceivedPublish next = await link.NextAsync();
        Assert.Equal("telemetry/gw/d2/gaps", next.Topic);
        await rig.AnswerAsync(link, next);
        Assert.Equal((0, 3), (rig.Ledger.ReportsWaiting, rig.Ledger.EntriesTold));
        Assert.Equal(1, rig.Gauge("iotgw_gap_reports_published_total"));
        Assert.Equal(1, rig.Log.Count(ForwardEvents.MessageRefused));
    }

    [Fact]
    public async Task ReportThatTheBrokerClosesOn_IsLeftOut()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Ledger.Add("d1", 1, 1, DropReason.Refused);
        rig.Start();
        for (int i = 0; i < Suspicion.ProofsNeeded; i++)
        {
            ScriptedLink lost = await rig.AcceptAsync(broker);
            Assert.Equal("telemetry/gw/d1/gaps", (await lost.NextAsync()).Topic);
            lost.Close();
        }

        ScriptedLink link = await rig.AcceptAsync(broker);
        rig.Add("pump-7");
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
        await Eventually.IsTrueAsync(() => rig.Ledger.ReportsWaiting == 0);
    }

    [Fact]
    public async Task Stop_WithoutADisk_TellsWhatIsLeftBeforeTheGoodbye()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Ledger.Add("d", 1, 1, DropReason.Refused);
        await rig.AnswerAsync(link, await link.NextAsync());
        rig.Ledger.Add("d", 1, 2, DropReason.Refused);
        Task stopped = rig.StopAsync();
        List<ReceivedPublish> last =
            await link.ServeAsync(m => m.Topic == "telemetry/gw/status").WaitAsync(Rig.HangGuard);
        Assert.Equal(["telemetry/gw/d/gaps", "telemetry/gw/status"], last.Select(m => m.Topic));
        await stopped;
        Assert.Equal(0, rig.Ledger.ReportsWaiting);
    }

    [Fact]
    public async Task Stop_WithADisk_LeavesTheRestToTheNextStart()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        var disk = new SimulatedDisk(new Random(1));
        Assert.True(rig.Ledger.Open(disk).IsNone);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Ledger.Add("d", 1, 1, DropReason.Refused);
        await rig.AnswerAsync(link, await link.NextAsync());
        rig.Ledger.Add("d", 1, 2, DropReason.Refused);
        Task stopped = rig.StopAsync();
        List<ReceivedPublish> last =
            await link.ServeAsync(m => m.Topic == "telemetry/gw/status").WaitAsync(Rig.HangGuard);
        Assert.Single(last);
        await stopped;
        Assert.Equal(DiskError.None, rig.Ledger.Flush());
        using var next = new DropLedger(rig.Time, () => 0);
        Assert.True(next.Open(disk).IsNone);
        Assert.True(next.TryTake(out GapReport? report));
        Assert.Equal(2u, report.From);
    }
}
