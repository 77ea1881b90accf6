using System.Threading.Channels;

namespace IotTcpGateway.DeviceClient;

/// <summary>A command, and who wants the answer.</summary>
internal readonly record struct PendingCommand(
    Connection Connection, uint Number, DeviceCommand Command, CancellationToken Ended);

/// <summary>Carries out commands one at a time, apart from the connection: ACKs do not wait for a valve.</summary>
internal sealed class CommandWorker(Func<DeviceCommand, CancellationToken, ValueTask<DeviceCommandReply>>? handler)
{
    private const int WaitingMax = 16;

    private readonly Channel<PendingCommand> waiting = Channel.CreateBounded<PendingCommand>(
        new BoundedChannelOptions(WaitingMax) { SingleReader = true });

    public void Take(PendingCommand pending)
    {
        if (handler is null)
            Answer(pending, DeviceCommandReply.Failed("this device takes no commands"));
        else if (!waiting.Writer.TryWrite(pending))
            Answer(pending, DeviceCommandReply.Busy("too many commands wait already"));
    }

    public async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            await foreach (PendingCommand pending in waiting.Reader.ReadAllAsync(stopping).ConfigureAwait(false))
                Answer(pending, await CarryOutAsync(pending).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The end of the client: commands that wait are answered by nobody.
        }
    }

    private async Task<DeviceCommandReply> CarryOutAsync(PendingCommand pending)
    {
        try
        {
            return await handler!(pending.Command, pending.Ended).ConfigureAwait(false);
        }
        catch (Exception failure)
        {
            // Whatever the handler threw is the answer: it is who asked that must hear of it.
            return DeviceCommandReply.Failed(failure.Message);
        }
    }

    private static void Answer(in PendingCommand pending, DeviceCommandReply reply) =>
        pending.Connection.SendResult(pending.Number, reply);
}
