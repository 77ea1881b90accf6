using System.Text;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class CommandTests
{
    [Fact]
    public async Task Command_Handled_AnswersUnderItsNumber()
    {
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = (command, _) => ValueTask.FromResult(
                new DeviceCommandReply(3, Encoding.UTF8.GetBytes($"{command.Name}:{command.Payload.Length}"))),
        });
        ScriptedConnection connection = await rig.StartAsync();
        await CommandAsync(connection, 4711, "valve", [1, 2, 3]);
        Assert.Equal((4711u, 3, "valve:3"), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_HandlerIsSlow_HoldsUpNoAckAndNoPing()
    {
        var finish = new TaskCompletionSource<DeviceCommandReply>();
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = (_, _) => new ValueTask<DeviceCommandReply>(finish.Task),
        });
        ScriptedConnection connection = await rig.StartAsync();
        await CommandAsync(connection, 1, "slow", []);
        rig.Send(1);
        await connection.ReceiveDataAsync(1);
        await connection.AckAsync(1, 100);
        await rig.OutcomeAsync();
        Assert.Empty(await Rig.FenceAsync(connection));
        finish.SetResult(DeviceCommandReply.Done);
        Assert.Equal((1u, 0, ""), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_WithoutHandler_IsAnsweredAsFailed()
    {
        await using var rig = new Rig();
        ScriptedConnection connection = await rig.StartAsync();
        await CommandAsync(connection, 5, "valve", []);
        Assert.Equal((5u, 255, "this device takes no commands"), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_HandlerThrows_IsAnsweredAsFailedAndTheNextIsCarriedOut()
    {
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = (command, _) => command.Name == "bad"
                ? throw new InvalidOperationException("the valve is stuck")
                : ValueTask.FromResult(DeviceCommandReply.Done),
        });
        ScriptedConnection connection = await rig.StartAsync();
        await CommandAsync(connection, 1, "bad", []);
        await CommandAsync(connection, 2, "good", []);
        Assert.Equal((1u, 255, "the valve is stuck"), await ResultAsync(connection));
        Assert.Equal((2u, 0, ""), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_ReplyLargerThanAccepted_IsAnsweredAsFailed()
    {
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = (command, _) => ValueTask.FromResult(
                new DeviceCommandReply(0, new byte[command.Payload.Span[0]])),
        });
        ScriptedConnection connection = await rig.StartAsync(new ScriptedTerms { LargestBody = 100 });
        await CommandAsync(connection, 1, "x", [97]);
        Assert.Equal(97, (await ResultAsync(connection)).Text.Length);
        await CommandAsync(connection, 2, "x", [98]);
        Assert.Equal((2u, 255, "the reply is larger than the gateway accepts"), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_MoreThanSixteenWait_AreAnsweredAsBusy()
    {
        var began = new TaskCompletionSource();
        var finish = new TaskCompletionSource<DeviceCommandReply>();
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = (_, _) =>
            {
                began.TrySetResult();
                return new ValueTask<DeviceCommandReply>(finish.Task);
            },
        });
        ScriptedConnection connection = await rig.StartAsync();
        await CommandAsync(connection, 0, "x", []);
        await Guard.Limit(began.Task);
        for (uint i = 1; i <= 17; i++)
            await CommandAsync(connection, i, "x", []);
        Assert.Equal((17u, 254, "too many commands wait already"), await ResultAsync(connection));
        finish.SetResult(DeviceCommandReply.Done);
        for (uint i = 0; i <= 16; i++)
            Assert.Equal((i, 0, ""), await ResultAsync(connection));
    }

    [Fact]
    public async Task Command_ConnectionEnds_CancelsTheHandlerAndAnswersNobody()
    {
        var cancelled = new TaskCompletionSource();
        await using var rig = new Rig(new RigOptions
        {
            OnCommand = async (command, ended) =>
            {
                if (command.Name == "slow")
                {
                    await using (ended.Register(cancelled.SetResult))
                        await cancelled.Task;
                }

                return DeviceCommandReply.Done;
            },
        });
        ScriptedConnection first = await rig.StartAsync();
        await CommandAsync(first, 1, "slow", []);
        await Rig.FenceAsync(first);
        first.Reset();
        await Guard.Limit(cancelled.Task);
        ScriptedConnection second = await rig.ComeBackAsync();
        await CommandAsync(second, 2, "quick", []);
        Assert.Equal((2u, 0, ""), await ResultAsync(second));
    }

    private static Task CommandAsync(ScriptedConnection connection, uint number, string name, byte[] payload)
    {
        var body = new byte[ProtocolConstants.ControlBodyBytesMax];
        int bytes = new Command { Name = Encoding.UTF8.GetBytes(name), Payload = payload }.WriteBody(body);
        return connection.SendAsync(FrameType.Command, number, body[..bytes]);
    }

    private static async Task<(uint Number, int Status, string Text)> ResultAsync(ScriptedConnection connection)
    {
        ScriptedFrame frame = await connection.ReceiveAsync(FrameType.Result);
        Assert.True(CommandResult.TryRead(frame.Body, out CommandResult result));
        return (frame.Sequence, result.Status, Encoding.UTF8.GetString(result.Payload));
    }
}
