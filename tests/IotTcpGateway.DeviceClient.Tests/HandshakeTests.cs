using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class HandshakeTests
{
    private static readonly byte[] key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    [Fact]
    public async Task Hello_WithoutKey_SaysWhoTheDeviceIs()
    {
        await using var rig = new Rig();
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        ScriptedHello hello = await connection.ReceiveHelloAsync();
        Assert.Equal(
            new ScriptedHello(AuthenticationMode.None, Features.None, 0xB007, 0, "press-7", "1.2"), hello);
        await connection.WelcomeAsync();
        await rig.StateAsync(DeviceClientPhase.Online);
        Assert.True(rig.Client.Status.Connected);
        Assert.Equal(1, rig.Client.Status.Connects);
    }

    [Fact]
    public async Task Hello_WithoutBootId_TakesARandomOneThatIsNotZero()
    {
        var seen = new HashSet<uint>();
        for (int i = 0; i < 3; i++)
        {
            await using var rig = new Rig(new RigOptions { BootId = null });
            await rig.StartAsync();
            seen.Add(rig.Client.Status.BootId);
        }

        Assert.Equal(3, seen.Count);
        Assert.DoesNotContain(0u, seen);
    }

    [Fact]
    public async Task Hello_FramesKeptButNeverSent_DoNotCountAsUsed()
    {
        // Else a boot id that was used before, by bad luck, would go unnoticed, and the frames be taken for duplicates.
        await using var rig = new Rig();
        rig.Send(1, count: 5);
        rig.Client.Start();
        ScriptedConnection first = await rig.Gateway.AcceptAsync();
        Assert.Equal(0u, (await first.ReceiveHelloAsync()).HighestUsed);
        await first.WelcomeAsync(new ScriptedTerms { Window = 3 });
        await Rig.ExpectDataAsync(first, 1, 2, 3);
        first.Reset();
        await rig.PassWaitAsync();
        ScriptedConnection second = await rig.Gateway.AcceptAsync();
        Assert.Equal(3u, (await second.ReceiveHelloAsync()).HighestUsed);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Hmac_RightProofs_SendsAndReceives(bool tags, bool singleBytes)
    {
        await using var rig = new Rig(new RigOptions { Key = key, RequireTags = tags });
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        connection.SendsSingleBytes = singleBytes;
        ScriptedHello hello = await connection.ReceiveHelloAsync();
        Assert.Equal(AuthenticationMode.Hmac, hello.Authentication);
        Assert.Equal(tags ? Features.TaggedFrames : Features.None, hello.Features);
        await connection.ChallengeAsync();
        await connection.ReceiveAuthAsync();
        await connection.WelcomeAsync();
        Assert.Equal(tags, connection.IsTagged);
        rig.Send(1, count: 3);
        await Rig.ExpectDataAsync(connection, 1, 2, 3);
        await connection.AckAsync(2, 100);
        await connection.AckAsync(3, 100);
        await Guard.Limit(rig.Client.FlushAsync());
        Assert.Equal(3, rig.Client.Status.Acknowledged);
    }

    [Fact]
    public async Task Hmac_GatewayHasAnotherKey_IsNotTrustedAndNothingIsActedOn()
    {
        await using var rig = new Rig(new RigOptions { Key = key });
        rig.Send(1, count: 2);
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.ChallengeAsync();
        await connection.ReceiveAuthAsync();
        byte[] body = connection.WelcomeBody(new ScriptedTerms { LastSafe = 2, GatewayTime = 1 });
        body[^1] ^= 1;
        await connection.SendAsync(FrameType.Welcome, 0, body);
        await ExpectNotTrustedAsync(rig, connection);
    }

    [Fact]
    public async Task Hmac_WelcomeAlteredUnderItsProof_IsNotTrusted()
    {
        await using var rig = new Rig(new RigOptions { Key = key });
        rig.Send(1, count: 2);
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.ChallengeAsync();
        await connection.ReceiveAuthAsync();
        byte[] body = connection.WelcomeBody(new ScriptedTerms());
        body[8] = 2; // The last safe sequence.
        await connection.SendAsync(FrameType.Welcome, 0, body);
        await ExpectNotTrustedAsync(rig, connection);
    }

    [Fact]
    public async Task Hmac_WelcomeWithoutChallenge_IsNotTrusted()
    {
        await using var rig = new Rig(new RigOptions { Key = key });
        rig.Send(1, count: 2);
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.WelcomeAsync(new ScriptedTerms { LastSafe = 2, GatewayTime = 1 });
        await ExpectNotTrustedAsync(rig, connection);
    }

    [Fact]
    public async Task Hmac_TagsRequiredAndNotGranted_IsNotTrusted()
    {
        await using var rig = new Rig(new RigOptions { Key = key, RequireTags = true });
        rig.Send(1, count: 2);
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.WelcomeAsync(
            new ScriptedTerms { LastSafe = 2, GatewayTime = 1, GrantTags = false });
        await ExpectNotTrustedAsync(rig, connection);
    }

    [Fact]
    public async Task Handshake_ChallengeUninvited_Ends()
    {
        await using var rig = new Rig();
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.ChallengeAsync();
        Assert.Equal(ConnectionEndKind.ProtocolError, (await rig.PassWaitAsync()).End.Kind);
    }

    [Fact]
    public async Task Handshake_SecondChallenge_Ends()
    {
        await using var rig = new Rig(new RigOptions { Key = key });
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.ChallengeAsync();
        await connection.ReceiveAuthAsync();
        await connection.ChallengeAsync();
        Assert.Equal(ConnectionEndKind.ProtocolError, (await rig.PassWaitAsync()).End.Kind);
    }

    [Theory]
    [InlineData(FrameType.Ack, 2)]
    [InlineData(FrameType.Welcome, 50)]
    [InlineData(FrameType.Hello, 0)]
    [InlineData((FrameType)0x77, 0)]
    public async Task Handshake_FrameOutOfPlaceOrMalformed_Ends(FrameType type, int bodyBytes)
    {
        await using var rig = new Rig();
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        await connection.SendAsync(type, 0, new byte[bodyBytes]);
        Assert.Equal(ConnectionEndKind.ProtocolError, (await rig.PassWaitAsync()).End.Kind);
    }

    [Fact]
    public async Task Handshake_NoWelcomeWithinTheConnectTimeout_EndsAndTriesAgain()
    {
        await using var rig = new Rig();
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(ConnectionEndKind.HandshakeTimedOut, (await rig.PassWaitAsync()).End.Kind);
        await rig.Gateway.WelcomeAsync();
        await rig.StateAsync(DeviceClientPhase.Online);
    }

    [Fact]
    public async Task Welcome_GatewayTime_GivesTheOffset()
    {
        await using var rig = new Rig();
        DateTimeOffset ahead = rig.Time.GetUtcNow().AddSeconds(90);
        await rig.StartAsync(new ScriptedTerms { GatewayTime = ahead.ToUnixTimeMilliseconds() * 1000 });
        Assert.Equal(TimeSpan.FromSeconds(90), rig.Client.Status.GatewayTimeOffset);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    public async Task Welcome_NoGatewayTime_GivesNoOffset(long time)
    {
        await using var rig = new Rig();
        await rig.StartAsync(new ScriptedTerms { GatewayTime = time });
        Assert.Null(rig.Client.Status.GatewayTimeOffset);
    }

    [Fact]
    public async Task Welcome_TogetherWithMoreFrames_LosesNone()
    {
        await using var rig = new Rig();
        rig.Send(1);
        rig.Client.Start();
        ScriptedConnection connection = await rig.Gateway.AcceptAsync();
        await connection.ReceiveHelloAsync();
        var bytes = new byte[256];
        byte[] welcome = connection.WelcomeBody(new ScriptedTerms { Window = 0 });
        int length = FrameWriter.Write(bytes, FrameType.Welcome, 0, welcome);
        length += FrameWriter.WriteAck(bytes.AsSpan(length), 0, 1);
        await connection.SendRawAsync(bytes[..length]);
        await Rig.ExpectDataAsync(connection, 1);
    }

    private static async Task ExpectNotTrustedAsync(Rig rig, ScriptedConnection connection)
    {
        Assert.Equal(ConnectionEndKind.GatewayNotTrusted, (await rig.PassWaitAsync()).End.Kind);
        Assert.Empty(await connection.ReceiveUntilClosedAsync());
        DeviceClientStatus status = rig.Client.Status;
        Assert.Equal((0, 2, 0), (status.Connects, status.KeptFrames, status.Acknowledged));
        Assert.Null(rig.Client.Status.GatewayTimeOffset);
    }
}
