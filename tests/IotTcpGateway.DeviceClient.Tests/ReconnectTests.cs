using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class ReconnectTests
{
    private static readonly byte[] key = [.. Enumerable.Range(0, 32).Select(i => (byte)(i * 3))];

    [Fact]
    public async Task BackOff_NothingHolds_DoublesAndBeginsAnewOnceALinkHeld()
    {
        await using var rig = new Rig();
        rig.Client.Start();
        foreach (int seconds in new[] { 1, 2, 4, 8, 16, 32, 40, 40 })
        {
            ScriptedConnection tried = await rig.Gateway.AcceptAsync();
            tried.Reset();
            Assert.Equal(TimeSpan.FromSeconds(seconds), (await rig.PassWaitAsync()).Wait);
        }

        // A welcome alone is not enough: a gateway that welcomes and drops must not be hammered.
        (await rig.Gateway.WelcomeAsync()).Reset();
        Assert.Equal(TimeSpan.FromSeconds(40), (await rig.PassWaitAsync()).Wait);

        rig.Send(1);
        ScriptedConnection useful = await rig.Gateway.WelcomeAsync();
        await Rig.ExpectDataAsync(useful, 1);
        await useful.AckAsync(1, 100);
        await rig.OutcomeAsync();
        useful.Reset();
        Assert.Equal(TimeSpan.FromSeconds(1), (await rig.PassWaitAsync()).Wait);
        (await rig.Gateway.AcceptAsync()).Reset();
        Assert.Equal(TimeSpan.FromSeconds(2), (await rig.PassWaitAsync()).Wait);

        ScriptedConnection lasting = await rig.Gateway.WelcomeAsync(new ScriptedTerms { IdleSeconds = 600 });
        await rig.StateAsync(DeviceClientPhase.Online);
        rig.Time.Advance(TimeSpan.FromMinutes(1));
        lasting.Reset();
        Assert.Equal(TimeSpan.FromSeconds(1), (await rig.PassWaitAsync()).Wait);
    }

    [Fact]
    public async Task Connect_NobodyListens_IsSaidAndTriedAgain()
    {
        await using var rig = new Rig();
        await rig.Gateway.DisposeAsync();
        rig.Client.Start();
        Assert.Equal(ConnectionEndKind.ConnectFailed, (await rig.PassWaitAsync()).End.Kind);
        Assert.Equal(ConnectionEndKind.ConnectFailed, (await rig.PassWaitAsync()).End.Kind);
    }

    [Theory]
    [InlineData(5, 5)]
    [InlineData(0, 1)]
    [InlineData(7200, 3600)]
    public async Task Refuse_WithATime_WaitsForItForAtMostOneHour(int seconds, double wait)
    {
        await using var rig = new Rig();
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.RefuseAsync(RefuseReason.ShuttingDown, (ushort)seconds, "back soon");
        (TimeSpan waited, ConnectionEnd end) = await rig.PassWaitAsync();
        Assert.Equal(TimeSpan.FromSeconds(wait), waited);
        Assert.Equal(
            (ConnectionEndKind.Refused, RefuseReason.ShuttingDown, "back soon"), (end.Kind, end.Refuse, end.Detail));
        await rig.Gateway.WelcomeAsync();
    }

    [Fact]
    public async Task Refuse_BootIdUsed_TakesANewOneAndNumbersFromOneWithoutHoles()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1, count: 5);
        await first.ReceiveDataAsync(5);
        await first.AckAsync(1, 100);
        await first.NackAsync(3, NackReason.ValueRefused);
        await rig.OutcomesAsync(2);
        first.Reset();
        await rig.PassWaitAsync();

        ScriptedConnection refusing = await rig.Gateway.AcceptAsync();
        Assert.Equal(0xB007u, (await refusing.ReceiveHelloAsync()).BootId);
        await refusing.RefuseAsync(RefuseReason.BootIdReused, 0);
        ScriptedConnection second = await rig.ComeBackAsync();
        Assert.NotEqual(0xB007u, second.Hello!.BootId);
        Assert.Equal(0u, second.Hello.HighestUsed);
        var values = new List<(uint, int)>();
        for (int i = 0; i < 3; i++)
        {
            ScriptedFrame frame = await second.ReceiveAsync(FrameType.Data);
            values.Add((frame.Sequence, Rig.Value(frame.Body)));
        }

        Assert.Equal([(1u, 2), (2u, 4), (3u, 5)], values);
        await second.AckAsync(3, 100);
        FrameOutcome[] outcomes = await rig.OutcomesAsync(3);
        Assert.Equal([2ul, 4, 5], outcomes.Select(o => o.Number));
        Assert.All(outcomes, o => Assert.Equal(second.Hello.BootId, o.BootId));
    }

    [Fact]
    public async Task Refuse_BootIdUsedSaidBeforeAuthentication_IsNotBelieved()
    {
        await using var rig = new Rig(new RigOptions { Key = key });
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.RefuseAsync(RefuseReason.BootIdReused, 0);
        Assert.Equal(ConnectionEndKind.Refused, (await rig.PassWaitAsync()).End.Kind);
        ScriptedConnection second = await rig.Gateway.WelcomeAsync();
        Assert.Equal(0xB007u, second.Hello!.BootId);
    }

    [Fact]
    public async Task Welcome_SafeBeyondWhatThisBootSent_TakesANewBootId()
    {
        // Going on would have new frames taken for duplicates, and acknowledged unseen.
        await using var rig = new Rig();
        rig.Send(1, count: 2);
        rig.Client.Start();
        await rig.Gateway.WelcomeAsync(new ScriptedTerms { LastSafe = 1 });
        Assert.Equal(ConnectionEndKind.BootIdReused, (await rig.PassWaitAsync()).End.Kind);
        ScriptedConnection second = await rig.Gateway.WelcomeAsync();
        Assert.NotEqual(0xB007u, second.Hello!.BootId);
        await Rig.ExpectDataAsync(second, 1, 2);
        Assert.False(rig.HasOutcome);
    }

    [Fact]
    public async Task Bye_Superseded_WaitsAMinute()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        await connection.ByeAsync(ByeReason.Superseded);
        // No answer to a BYE.
        Assert.Empty(await connection.ReceiveUntilClosedAsync());
        (TimeSpan wait, ConnectionEnd end) = await rig.PassWaitAsync();
        Assert.Equal(TimeSpan.FromMinutes(1), wait);
        Assert.Equal((ConnectionEndKind.Bye, ByeReason.Superseded), (end.Kind, end.Bye));
    }

    [Fact]
    public async Task Ping_AtAThirdOfTheIdleTimeout_AndNoneWhileThereIsTraffic()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { IdleSeconds = 30 });
        rig.Time.Advance(TimeSpan.FromSeconds(9.999));
        Assert.Empty(await Rig.FenceAsync(connection));

        // The fence was traffic both ways: the time counts from there.
        rig.Time.Advance(TimeSpan.FromSeconds(9.999));
        Assert.Empty(await Rig.FenceAsync(connection));
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        ScriptedFrame ping = await connection.ReceiveAsync(FrameType.Ping);
        await connection.SendAsync(FrameType.Pong, ping.Sequence, ping.Body);
        Assert.Empty(await Rig.FenceAsync(connection));
        Assert.True(rig.Client.Status.Connected);
    }

    [Fact]
    public async Task Ping_FromTheGateway_IsReturnedWithItsSequenceAndBody()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        byte[] body = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
        await connection.SendAsync(FrameType.Ping, 77, body);
        ScriptedFrame pong = await connection.ReceiveAsync(FrameType.Pong);
        Assert.Equal(77u, pong.Sequence);
        Assert.Equal(body, pong.Body);
    }

    [Fact]
    public async Task Silence_ForTheWholeIdleTimeout_Reconnects()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { IdleSeconds = 30 });
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        await connection.ReceiveAsync(FrameType.Ping);
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        await connection.ReceiveAsync(FrameType.Ping);
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(ConnectionEndKind.Silence, (await rig.PassWaitAsync()).End.Kind);
        await rig.Gateway.WelcomeAsync();
    }

    [Fact]
    public async Task Frame_BegunAndNotEndedInTime_Reconnects()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { IdleSeconds = 3600 });
        await connection.SendRawAsync([0xC7, 0x49, 1, (byte)FrameType.Ack, 2]);
        await rig.Time.TimerSetToAsync(TimeSpan.FromSeconds(10));
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        await ExpectBye4Async(connection);
        Assert.Equal(ConnectionEndKind.ProtocolError, (await rig.PassWaitAsync()).End.Kind);
    }

    [Fact]
    public async Task Silence_BrokenByBytesThatAreNoFrame_IsStillSilence()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { IdleSeconds = 6 });
        // In steps of the timer, so that it is first set to the last second when the bytes have come.
        foreach (int seconds in new[] { 2, 2, 1 })
            rig.Time.Advance(TimeSpan.FromSeconds(seconds));
        await connection.SendRawAsync([0xC7, 0x49, 1, (byte)FrameType.Ack, 2]);
        await rig.Time.TimerSetToAsync(TimeSpan.FromSeconds(1));
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(ConnectionEndKind.Silence, (await rig.PassWaitAsync()).End.Kind);
    }

    public static TheoryData<string, byte[]> BadBytes => new()
    {
        { "magic", Frame(FrameType.Ack, new byte[2], f => f[0] ^= 1) },
        { "version", Frame(FrameType.Ack, new byte[2], f => f[2] = 2) },
        { "length", Frame(FrameType.Command, new byte[513], _ => { }) },
        { "reserved flag", Frame(FrameType.Ack, new byte[2], f => f[6] = 2) },
        { "tagged, untagged session", Frame(FrameType.Ack, new byte[2], f => f[6] = 1) },
        { "checksum", Frame(FrameType.Ack, new byte[2], f => f[^1] ^= 1) },
        { "body bit", Frame(FrameType.Ack, new byte[2], f => f[12] ^= 1) },
        { "ACK of 3", Frame(FrameType.Ack, new byte[3], _ => { }) },
        { "empty NACK", Frame(FrameType.Nack, [], _ => { }) },
        { "NACK not UTF-8", Frame(FrameType.Nack, [1, 0xFF], _ => { }) },
        { "long PING", Frame(FrameType.Ping, new byte[33], _ => { }) },
        { "long PONG", Frame(FrameType.Pong, new byte[33], _ => { }) },
        { "COMMAND ends early", Frame(FrameType.Command, [1, (byte)'a', 5, 0], _ => { }) },
        { "empty BYE", Frame(FrameType.Bye, [], _ => { }) },
        { "second WELCOME", Frame(FrameType.Welcome, new byte[51], _ => { }) },
        { "REFUSE after WELCOME", Frame(FrameType.Refuse, new byte[3], _ => { }) },
        { "wrong direction", Frame(FrameType.Data, new byte[20], _ => { }) },
        { "unknown type", Frame((FrameType)0x7F, [], _ => { }) },
    };

    [Theory]
    [MemberData(nameof(BadBytes))]
    public async Task BadFrame_AnyKind_EndsWithBye4AndSendsAgain(string what, byte[] bytes)
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1, count: 2);
        await first.ReceiveDataAsync(2);
        await first.SendRawAsync(bytes);
        // What follows a lost frame boundary is not looked at.
        await first.AckAsync(2, 100);
        await ExpectBye4Async(first);
        ScriptedConnection second = await rig.ComeBackAsync();
        await Rig.ExpectDataAsync(second, 1, 2);
        Assert.False(rig.HasOutcome, what);
    }

    [Theory]
    [InlineData("untagged")]
    [InlineData("bad tag")]
    [InlineData("replayed")]
    public async Task TaggedSession_FrameNotFromTheGateway_EndsWithBye4(string attack)
    {
        await using var rig = new Rig(new RigOptions { Key = key, RequireTags = true });
        ScriptedConnection connection = await rig.StartAsync();
        Assert.True(connection.IsTagged);
        rig.Send(1);
        await Rig.ExpectDataAsync(connection, 1);
        await Rig.FenceAsync(connection);
        switch (attack)
        {
            case "untagged":
                await connection.SendRawAsync(Frame(FrameType.Ack, [1, 0], _ => { }, sequence: 1));
                break;
            case "bad tag":
                using (var tagger = new FrameTagger(new byte[32], FrameDirection.FromGateway, counter: 2))
                    await connection.SendRawAsync(Frame(FrameType.Ack, [1, 0], _ => { }, sequence: 1, tagger));
                break;
            default:
                byte[] ack = connection.Tagged(FrameType.Ack, 0, [9, 0]);
                await connection.SendRawAsync(ack);
                await connection.SendRawAsync(ack);
                break;
        }

        await ExpectBye4Async(connection);
        Assert.Equal(ConnectionEndKind.ProtocolError, (await rig.PassWaitAsync()).End.Kind);
        Assert.False(rig.HasOutcome);
    }

    [Fact]
    public async Task Frames_OneByteAtATime_AreAllTaken()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        connection.SendsSingleBytes = true;
        rig.Send(1, count: 20);
        await connection.ReceiveDataAsync(20);
        for (uint i = 1; i <= 19; i += 2)
        {
            await connection.NackAsync(i, NackReason.ValueRefused, "no");
            await connection.AckAsync(i + 1, 100);
        }

        FrameOutcome[] outcomes = await rig.OutcomesAsync(20);
        Assert.Equal(Enumerable.Range(1, 20).Select(i => (ulong)i), outcomes.Select(o => o.Number));
        Assert.Equal(10, outcomes.Count(o => o.Fate == FrameFate.Refused));
    }

    [Fact]
    public async Task DropConnection_Online_ReconnectsAndSendsAgain()
    {
        await using var rig = new Rig();
        ScriptedConnection first = await rig.StartAsync();
        rig.Send(1);
        await first.ReceiveDataAsync(1);
        rig.Client.DropConnection();
        Assert.Empty(await first.ReceiveUntilClosedAsync());
        ScriptedConnection second = await rig.ComeBackAsync();
        await Rig.ExpectDataAsync(second, 1);
        Assert.Equal(2, rig.Client.Status.Connects);
    }

    [Fact]
    public void DropConnection_NotConnected_IsOfNoEffect()
    {
        var rig = new Rig();
        rig.Client.DropConnection();
        Assert.Equal(DeviceClientPhase.Created, rig.Client.Status.State.Phase);
    }

    private static async Task ExpectBye4Async(ScriptedConnection connection)
    {
        ScriptedFrame bye = (await connection.ReceiveUntilClosedAsync())[^1];
        Assert.Equal((FrameType.Bye, (byte)ByeReason.ProtocolError), (bye.Type, bye.Body[0]));
        await connection.DisposeAsync();
    }

    private static byte[] Frame(
        FrameType type, byte[] body, Action<byte[]> damage, uint sequence = 0, FrameTagger? tagger = null)
    {
        var frame = new byte[ProtocolConstants.FrameBytes(body.Length, tagger is not null)];
        FrameWriter.Write(frame, type, sequence, body, tagger);
        damage(frame);
        return frame;
    }
}
