using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class SendingTests
{
    [Fact]
    public async Task Data_InOrder_CarriesSequencesFromOneAndItsBody()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        for (int i = 1; i <= 3; i++)
        {
            Assert.True(rig.Client.TrySend(Rig.Body(i * 11), out ulong number));
            Assert.Equal((ulong)i, number);
            ScriptedFrame frame = await connection.ReceiveAsync(FrameType.Data);
            Assert.Equal(((uint)i, i * 11), (frame.Sequence, Rig.Value(frame.Body)));
        }
    }

    [Fact]
    public async Task Describe_AfterEveryWelcome_ComesBeforeTheFirstData()
    {
        await using var rig = new Rig(new RigOptions
        {
            Channels = [new(1, DataType.I32, "press/force", "kN"), new(2, DataType.F32, "oil", "°C")],
        });
        rig.Send(1);
        ScriptedConnection first = await rig.StartAsync();
        ExpectDescribed(await first.ReceiveAsync(FrameType.Describe), "1=press/force kN", "2=oil °C");
        await Rig.ExpectDataAsync(first, 1);
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync();
        ExpectDescribed(await second.ReceiveAsync(FrameType.Describe), "1=press/force kN", "2=oil °C");
        await Rig.ExpectDataAsync(second, 1);
    }

    [Fact]
    public async Task Describe_WhileOnline_SendsTheChangeAloneAndRemembersIt()
    {
        await using var rig = new Rig(new RigOptions { Channels = [new(1, DataType.I32, "a", "")] });
        ScriptedConnection first = await rig.StartAsync();
        await first.ReceiveAsync(FrameType.Describe);
        rig.Client.Describe([new(2, DataType.I32, "b", ""), new(1, DataType.I32, "c", "")]);
        rig.Send(1);
        ExpectDescribed(await first.ReceiveAsync(FrameType.Describe), "2=b ", "1=c ");
        await Rig.ExpectDataAsync(first, 1);
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync();
        ExpectDescribed(await second.ReceiveAsync(FrameType.Describe), "1=c ", "2=b ");
    }

    [Fact]
    public async Task Describe_MoreThanOneBodyHolds_TakesSeveralWithinTheLargestBody()
    {
        await using var rig = new Rig(new RigOptions
        {
            Channels = [.. Enumerable.Range(0, 20)
                .Select(i => new DescribedChannel((ushort)i, DataType.U8, $"channel-{i:00}", ""))],
        });
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { LargestBody = 50 });
        int entries = 0;
        foreach (ScriptedFrame frame in await Rig.FenceAsync(connection))
        {
            Assert.InRange(frame.Body.Length, 1, 50);
            Assert.True(DescribeReader.IsValid(frame.Body));
            entries += frame.Body[0];
        }

        Assert.Equal(20, entries);
    }

    [Fact]
    public async Task Describe_MoreThanOneSendHolds_StillComesBeforeTheFirstData()
    {
        string unit = new('u', 32);
        await using var rig = new Rig(new RigOptions
        {
            Channels = [.. Enumerable.Range(0, 250)
                .Select(i => new DescribedChannel((ushort)i, DataType.U8, $"{new string('n', 60)}-{i:000}", unit))],
        });
        rig.Send(1);
        ScriptedConnection connection = await rig.StartAsync();
        ScriptedFrame first = await connection.ReceiveAsync(FrameType.Describe);
        ScriptedFrame second = await connection.ReceiveAsync(FrameType.Describe);
        Assert.Equal(250, first.Body[0] + second.Body[0]);
        await Rig.ExpectDataAsync(connection, 1);
    }

    [Fact]
    public void Outbox_Bye_IsTheLastOfAll()
    {
        var outbox = new Outbox();
        var room = new byte[100];
        Assert.Equal(0, outbox.Take(room, null, out bool dataMayFollow, out bool isLast));
        Assert.True(dataMayFollow && !isLast);
        outbox.Add(FrameType.Ping, 1, default);
        outbox.Add(FrameType.Bye, 0, new byte[1]);
        outbox.Add(FrameType.Ping, 2, default);
        Assert.Equal(16 + 17, outbox.Take(room, null, out dataMayFollow, out isLast));
        Assert.True(isLast && !dataMayFollow && outbox.IsDone);
    }

    [Fact]
    public async Task Ack_Cumulative_SettlesEverythingUpToIt()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1, count: 5);
        await connection.ReceiveDataAsync(5);
        rig.Time.Advance(TimeSpan.FromMilliseconds(250));
        await connection.AckAsync(3, 100);
        for (uint i = 1; i <= 3; i++)
        {
            Assert.Equal(
                new FrameOutcome(i, 0xB007, i, FrameFate.Acknowledged, TimeSpan.FromMilliseconds(250), null, ""),
                await rig.OutcomeAsync());
        }

        await Rig.FenceAsync(connection);
        Assert.False(rig.HasOutcome);
        Assert.Equal((2, 3u), (rig.Client.Status.KeptFrames, rig.Client.Status.LastSafe));
        await connection.AckAsync(5, 100);
        await rig.OutcomesAsync(2);
        Assert.Equal(0, rig.Client.Status.KeptBytes);
    }

    [Fact]
    public async Task Ack_LowerThanBefore_SettlesNothingTwice()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        rig.Send(1, count: 3);
        await connection.ReceiveDataAsync(3);
        await connection.AckAsync(2, 100);
        await connection.AckAsync(0, 100);
        await connection.AckAsync(1, 100);
        await rig.OutcomesAsync(2);
        await Rig.FenceAsync(connection);
        Assert.False(rig.HasOutcome);
        Assert.Equal(2u, rig.Client.Status.LastSafe);
    }

    [Fact]
    public async Task Reconnect_SendsAgainOldestFirstWhatIsAboveLastSafe()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1, count: 5);
        await first.ReceiveDataAsync(5);
        await first.AckAsync(1, 100);
        await rig.OutcomeAsync();
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync(new ScriptedTerms { LastSafe = 3 });
        Assert.Equal(5u, second.Hello!.HighestUsed);
        rig.Send(6);
        await Rig.ExpectDataAsync(second, 4, 5, 6);
        Assert.Equal([2ul, 3], (await rig.OutcomesAsync(2)).Select(o => o.Number));
        Assert.Equal((8, 2), (rig.Client.Status.Sent, rig.Client.Status.Repeated));
    }

    [Fact]
    public async Task Ack_AheadOfWhatWasSentOnThisConnection_SettlesWhatWasSentBefore()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1, count: 5);
        await first.ReceiveDataAsync(5);
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync(new ScriptedTerms { Window = 1 });
        await Rig.ExpectDataAsync(second, 1);
        await second.AckAsync(4, 1);
        await rig.OutcomesAsync(4);
        await Rig.ExpectDataAsync(second, 5);
    }

    [Fact]
    public async Task Ack_AboveEverythingEverSent_SettlesNothingUnsent()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = 1 });
        rig.Send(1, count: 2);
        await Rig.ExpectDataAsync(connection, 1);
        await connection.AckAsync(uint.MaxValue, 1);
        Assert.Equal(1ul, (await rig.OutcomeAsync()).Number);
        await Rig.ExpectDataAsync(connection, 2);
        Assert.Equal((1, 1u), (rig.Client.Status.KeptFrames, rig.Client.Status.LastSafe));
    }

    [Fact]
    public async Task Nack_OneFrame_FreesItAloneAndIsNotSentAgain()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1, count: 4);
        await first.ReceiveDataAsync(4);
        await first.NackAsync(3, NackReason.ValueRefused, "out of range");
        Assert.Equal(
            new FrameOutcome(3, 0xB007, 3, FrameFate.Refused, TimeSpan.Zero, NackReason.ValueRefused, "out of range"),
            await rig.OutcomeAsync());
        await first.NackAsync(3, NackReason.ValueRefused);
        await Rig.FenceAsync(first);
        Assert.False(rig.HasOutcome);
        Assert.Equal((3, 1), (rig.Client.Status.KeptFrames, rig.Client.Status.Refused));
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync();
        await Rig.ExpectDataAsync(second, 1, 2, 4);
        await second.AckAsync(4, 100);
        Assert.Equal([1ul, 2, 4], (await rig.OutcomesAsync(3)).Select(o => o.Number));
    }

    [Fact]
    public async Task Nack_OfAFrameNeverSent_IsOfNoEffect()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = 1 });
        rig.Send(1, count: 2);
        await Rig.ExpectDataAsync(connection, 1);
        await connection.NackAsync(2, NackReason.MalformedBody);
        await Rig.FenceAsync(connection);
        Assert.Equal(2, rig.Client.Status.KeptFrames);
    }

    [Fact]
    public async Task Window_Zero_WaitsUntilAnAckRepeatsTheSequenceAndOpensIt()
    {
        await using var rig = new Rig();
        rig.Send(1, count: 3);
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = 0 });
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(0, 2);
        await Rig.ExpectDataAsync(connection, 1, 2);
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(2, 0);
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(2, 1);
        await Rig.ExpectDataAsync(connection, 3);
    }

    [Fact]
    public async Task Window_Smaller_TakesNothingBackAndHoldsUntilBelow()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { Window = 4 });
        rig.Send(1, count: 8);
        await Rig.ExpectDataAsync(connection, 1, 2, 3, 4);
        await connection.AckAsync(1, 2);
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(2, 2);
        Assert.Empty(await Rig.FenceAsync(connection));
        await connection.AckAsync(3, 2);
        await Rig.ExpectDataAsync(connection, 5);
        Assert.Empty(await Rig.FenceAsync(connection));
    }

    [Fact]
    public async Task Window_NackAndRepeats_CountAsTheProtocolSays()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync(new ScriptedTerms { Window = 2 });
        rig.Send(1, count: 6);
        await Rig.ExpectDataAsync(first, 1, 2);
        await first.NackAsync(2, NackReason.ValueRefused);
        await Rig.ExpectDataAsync(first, 3);
        Assert.Empty(await Rig.FenceAsync(first));
        first.Reset();
        // What was sent before does not count on the new connection; what is sent again does.
        ScriptedConnection second = await rig.ComeBackAsync(new ScriptedTerms { Window = 3 });
        await Rig.ExpectDataAsync(second, 1, 3, 4);
        Assert.Empty(await Rig.FenceAsync(second));
    }

    [Fact]
    public async Task LargestBody_LargerFrame_IsRefusedWithoutBeingSent()
    {
        await using var rig = new Rig();
        rig.Send(1);
        Assert.True(rig.Client.TrySend(new byte[101], out _));
        rig.Send(3);
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { LargestBody = 100 });
        await Rig.ExpectDataAsync(connection, 1, 3);
        FrameOutcome outcome = await rig.OutcomeAsync();
        Assert.Equal((2ul, FrameFate.Refused, NackReason.BodyTooLarge), (outcome.Number, outcome.Fate, outcome.Reason));
        await connection.AckAsync(3, 100);
        Assert.All(await rig.OutcomesAsync(2), o => Assert.Equal(FrameFate.Acknowledged, o.Fate));
    }

    [Fact]
    public async Task LargestBody_LowerThanWhenAFrameWasSentBefore_LeavesItToTheGateway()
    {
        // It may have been taken: then it is a duplicate, and acknowledged.
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        Assert.True(rig.Client.TrySend(new byte[101], out _));
        await Rig.ExpectDataAsync(first, 1);
        first.Reset();
        ScriptedConnection second = await rig.ComeBackAsync(new ScriptedTerms { LargestBody = 100 });
        await Rig.ExpectDataAsync(second, 1);
    }

    [Fact]
    public async Task Sequences_UsedUp_TakesANewBootOnceTheOldOneIsSettled()
    {
        await using var rig = new Rig(new RigOptions { FirstSequence = uint.MaxValue - 1 });
        rig.Send(1, count: 4);
        ScriptedConnection first = await rig.StartAsync();
        Assert.Equal(uint.MaxValue - 2, first.Hello!.HighestUsed);
        await Rig.ExpectDataAsync(first, uint.MaxValue - 1, uint.MaxValue);
        Assert.Empty(await Rig.FenceAsync(first));
        await first.AckAsync(uint.MaxValue, 100);
        ScriptedFrame bye = Assert.Single(await first.ReceiveUntilClosedAsync());
        Assert.Equal((FrameType.Bye, (byte)ByeReason.Normal), (bye.Type, bye.Body[0]));
        await first.DisposeAsync();
        ScriptedConnection second = await rig.ComeBackAsync();
        Assert.NotEqual(first.Hello.BootId, second.Hello!.BootId);
        Assert.Equal(0u, second.Hello.HighestUsed);
        await Rig.ExpectDataAsync(second, 1, 2);
        await second.AckAsync(2, 100);
        FrameOutcome[] outcomes = await rig.OutcomesAsync(4);
        Assert.Equal([1ul, 2, 3, 4], outcomes.Select(o => o.Number));
        Assert.Equal([uint.MaxValue - 1, uint.MaxValue, 1, 2], outcomes.Select(o => o.Sequence));
        Assert.Equal(second.Hello.BootId, outcomes[3].BootId);
    }

    private static void ExpectDescribed(ScriptedFrame frame, params string[] channels)
    {
        Assert.Equal(0u, frame.Sequence);
        Assert.True(DescribeReader.IsValid(frame.Body));
        var reader = new DescribeReader(frame.Body);
        var got = new List<string>();
        while (reader.TryRead(out ChannelDescription entry))
        {
            string name = System.Text.Encoding.UTF8.GetString(entry.Name);
            got.Add($"{entry.Channel}={name} {System.Text.Encoding.UTF8.GetString(entry.Unit)}");
        }

        Assert.Equal(channels, got);
    }
}
