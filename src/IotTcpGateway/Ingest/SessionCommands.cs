using System.Text;

using IotTcpGateway.Commands;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>Commands to the device, and what it answers.</summary>
internal sealed partial class Session : ICommandReceiver
{
    private const int CommandsMax = 16;
    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(60);

    private readonly Lock commandGate = new();
    private Dictionary<uint, (CommandRequest Request, long SentAt)>? commands;
    private bool commandsHaveEnded;

    /// <inheritdoc/>
    public string? Receive(CommandRequest request)
    {
        if (Volatile.Read(ref permissions).Commands is { } allowed && !NamePattern.MatchesAny(allowed, request.Name))
            return "the device may not be sent this command";
        uint number = context.NextCommandNumber();
        lock (commandGate)
        {
            if (commandsHaveEnded || Volatile.Read(ref stopRequested) is not null)
                return "the device is not connected";
            if (outbox.IsBusy || commands?.Count >= CommandsMax)
                return "the device has not answered earlier commands";
            (commands ??= []).Add(number, (request, context.Time.GetTimestamp()));
        }

        Span<byte> body = stackalloc byte[ProtocolConstants.ControlBodyBytesMax];
        byte[] name = Encoding.UTF8.GetBytes(request.Name);
        int bytes = new Command { Name = name, Payload = request.Payload }.WriteBody(body);
        outbox.Send(FrameType.Command, number, body[..bytes]);
        return null;
    }

    private Step TakeResult(uint number, ReadOnlySpan<byte> body)
    {
        if (!CommandResult.TryRead(body, out CommandResult result))
            return EndOfViolation("malformed-result");
        (CommandRequest Request, long SentAt) command = default;
        lock (commandGate)
            commands?.Remove(number, out command);
        // An answer to nothing that was asked, or asked too long ago, is not an error: the number may be of an older
        // connection.
        if (command.Request is not null)
            context.Commands.Answer(new CommandAnswer(command.Request, result.Status, result.Payload.ToArray(), null));
        return Step.Taken;
    }

    // A device that answers no command must not block all later ones.
    private void ExpireCommands()
    {
        List<CommandRequest>? expired = null;
        lock (commandGate)
        {
            if (commands is null)
                return;
            foreach ((uint number, (CommandRequest request, long sentAt)) in commands)
            {
                if (context.Time.GetElapsedTime(sentAt) < AnswerTimeout)
                    continue;
                commands.Remove(number);
                (expired ??= []).Add(request);
            }
        }

        string error = $"no answer within {AnswerTimeout.TotalSeconds} s";
        foreach (CommandRequest request in expired ?? [])
            context.Commands.Answer(new CommandAnswer(request, 0, [], error));
    }

    private void FailCommands()
    {
        CommandRequest[] unanswered;
        lock (commandGate)
        {
            commandsHaveEnded = true;
            unanswered = commands is null ? [] : [.. commands.Values.Select(c => c.Request)];
            commands = null;
        }

        const string error = "the connection ended before the device answered";
        foreach (CommandRequest request in unanswered)
            context.Commands.Answer(new CommandAnswer(request, 0, [], error));
    }
}
