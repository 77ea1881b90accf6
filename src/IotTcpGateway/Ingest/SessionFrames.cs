using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>What each frame comes to.</summary>
internal sealed partial class Session : ICommandReceiver
{
    private const int CommandsMax = 16;

    private readonly Lock commandGate = new();
    private Dictionary<uint, CommandRequest>? commands;

    /// <inheritdoc/>
    public string? Receive(CommandRequest request)
    {
        uint number = listener.NextCommandNumber();
        byte[] name = Encoding.UTF8.GetBytes(request.Name);
        lock (commandGate)
        {
            if (Volatile.Read(ref stopRequested) is not null)
                return "the device is not connected";
            if (outbox.IsBusy || commands?.Count >= CommandsMax)
                return "the device has not answered earlier commands";
            (commands ??= []).Add(number, request);
        }

        Span<byte> body = stackalloc byte[ProtocolConstants.ControlBodyBytesMax];
        int bytes = new Command { Name = name, Payload = request.Payload }.WriteBody(body);
        outbox.Send(FrameType.Command, number, body[..bytes]);
        return null;
    }

    private Step TakeFrame(ReadOnlySpan<byte> input, out int consumed, out object? detail)
    {
        consumed = 0;
        detail = null;
        if (state == State.AwaitsPlace)
            return Step.WaitForPlace;
        if (oversized is not null)
            return TakeOversized(input, out consumed, out detail);
        FrameReadResult result = FrameReader.Read(
            input,
            IsOpen ? ProtocolConstants.BodyBytesMax : ProtocolConstants.ControlBodyBytesMax,
            IsOpen ? (int)listener.Options.MaxBody : ProtocolConstants.ControlBodyBytesMax,
            tagAllowed: fromDevice is not null,
            out Frame frame,
            out FrameHeader header);
        switch (result)
        {
            case FrameReadResult.NeedMoreData:
                return Step.NeedMoreData;
            case FrameReadResult.BodyTooLarge when header.Type == FrameType.Data && header.Sequence != 0:
                oversized = new OversizedFrame(header, fromDevice);
                return TakeOversized(input, out consumed, out detail);
            case FrameReadResult.Frame:
                return TakeWhole(frame, out consumed, out detail);
            default:
                return EndOfBadBytes(result, out detail);
        }
    }

    private Step EndOfBadBytes(FrameReadResult result, out object? detail)
    {
        string label = result switch
        {
            FrameReadResult.BadMagic => "bad-magic",
            FrameReadResult.BadVersion => "bad-version",
            FrameReadResult.BadFlags => "bad-flags",
            FrameReadResult.BadLength => "bad-length",
            FrameReadResult.BadChecksum => "bad-crc",
            _ => "body-too-large",
        };
        context.Metrics.FrameRejected(label);
        SessionEnding ending = SessionEnding.BadBytes(label);
        if (result == FrameReadResult.BadVersion)
            ending = ending with { Refuse = RefuseReason.VersionNotSupported, Text = "version 1 is spoken here" };
        return End(ending, out detail);
    }

    private Step TakeWhole(in Frame frame, out int consumed, out object? detail)
    {
        consumed = 0;
        if (fromDevice is not null && !frameIsVerified)
        {
            if (!frame.Header.IsTagged || !fromDevice.Verify(frame))
                return EndOfAttack(frame.Header.IsTagged ? "bad-tag" : "untagged-frame", out detail);
            frameIsVerified = true;
        }

        Step step = Dispatch(frame, out detail);
        if (step == Step.Taken)
        {
            consumed = frame.Bytes.Length;
            frameIsVerified = tokenIsTaken = false;
        }

        return step;
    }

    private Step EndOfAttack(string what, out object? detail)
    {
        context.Metrics.FrameRejected(what);
        if (listener.AuthenticationLog.Passes())
            LogTagFailure(context.Logger, deviceId, Address, what);
        return End(SessionEnding.Violation(what), out detail);
    }

    private Step Dispatch(in Frame frame, out object? detail)
    {
        detail = null;
        FrameType type = frame.Header.Type;
        switch (state, type)
        {
            case (State.AwaitsHello, FrameType.Hello):
                return TakeHello(frame.Body, out detail);
            case (State.AwaitsAuth, FrameType.Auth):
                return TakeAuth(frame.Body, out detail);
            case (State.Open, FrameType.Data):
                return TakeData(frame.Header.Sequence, frame.Body, out detail);
            case (State.Open, FrameType.Describe):
                return TakeDescribe(frame.Body, out detail);
            case (State.Open, FrameType.Ping) when frame.Body.Length <= ProtocolConstants.PingBytesMax:
                if (outbox.IsBusy)
                    return Step.WaitForDrain;
                outbox.Send(FrameType.Pong, frame.Header.Sequence, frame.Body);
                return Step.Taken;
            case (State.Open, FrameType.Pong) when frame.Body.Length <= ProtocolConstants.PingBytesMax:
                return Step.Taken;
            case (State.Open, FrameType.Result):
                return TakeResult(frame.Header.Sequence, frame.Body, out detail);
            case (State.Open, FrameType.Bye) when frame.Body.Length == 1:
                return End(SessionEnding.PeerBye, out detail);
            default:
                context.Metrics.FrameRejected("unexpected-frame");
                return End(
                    IsOpen ? SessionEnding.Violation("unexpected-frame") : SessionEnding.BadHandshake("unexpected-frame"),
                    out detail);
        }
    }

    private Step TakeData(uint sequence, ReadOnlySpan<byte> body, out object? detail)
    {
        detail = null;
        if (sequence == 0)
        {
            context.Metrics.FrameRejected("sequence-zero");
            return End(SessionEnding.Violation("sequence-zero"), out detail);
        }

        if (!outbox.HasWindow)
            return Step.WaitForWindow;
        if (!TryTakeToken(out detail))
            return Step.WaitForToken;
        if (TakeDuplicate(sequence))
            return Step.Taken;

        DataFault fault = DataReader.Check(body, out int records);
        if (fault != DataFault.None)
        {
            Reject(sequence, NackReason.MalformedBody, "malformed-body", Describe(fault, records + 1));
            return Step.Taken;
        }

        uint highest = stream!.HighestTaken;
        AddResult added = context.Buffer.TryAdd(stream, sequence, channels, arrival, body);
        if (added == AddResult.Full)
            return Step.WaitForRoom;
        CountGap(highest, sequence);
        outbox.Received(sequence);
        if (added == AddResult.Dropped)
            outbox.OweNack(sequence, NackReason.Dropped, "dropped, buffer full"u8);
        else
            context.Metrics.FrameReceived();
        // It may have become safe before it was counted as received: then nobody else says so.
        if (stream.SafeSequence >= sequence)
            outbox.OweAck();
        return Step.Taken;
    }

    private bool TryTakeToken(out object? wait)
    {
        wait = null;
        if (tokenIsTaken)
            return true;
        TimeSpan due = device!.Frames.Take(listener.Options.FramesPerSecond);
        tokenIsTaken = due == TimeSpan.Zero;
        wait = due;
        return tokenIsTaken;
    }

    private bool TakeDuplicate(uint sequence)
    {
        if (sequence > stream!.HighestTaken)
            return false;
        context.Metrics.DuplicateReceived();
        outbox.Received(sequence);
        if (sequence <= stream.SafeSequence)
            outbox.OweAck();
        return true;
    }

    private void Reject(uint sequence, NackReason reason, string label, ReadOnlySpan<byte> text)
    {
        CountGap(stream!.HighestTaken, sequence);
        context.Metrics.FrameRejected(label);
        outbox.Received(sequence);
        context.Buffer.SkipSequence(stream, sequence);
        outbox.OweNack(sequence, reason, text);
    }

    // The first frame of a boot id of which there is no memory is not a gap: the gateway may have been restarted.
    private void CountGap(uint highest, uint sequence)
    {
        if (highest != 0 && sequence - highest > 1)
            context.Metrics.GapSeen();
    }

    private static byte[] Describe(DataFault fault, int record) => Encoding.UTF8.GetBytes(fault switch
    {
        DataFault.Empty => "no record",
        DataFault.EndsEarly => $"record {record} ends early",
        DataFault.UnknownValueType => $"record {record} has an unknown value type",
        DataFault.BadBool => $"record {record} is a bool that is neither 0 nor 1",
        DataFault.BadText => $"record {record} is a text that is not UTF-8",
        _ => $"record {record} has a time out of range",
    });

    private Step TakeOversized(ReadOnlySpan<byte> input, out int consumed, out object? detail)
    {
        detail = null;
        OversizedFrame passing = oversized!;
        consumed = passing.IsComplete ? 0 : passing.Append(input);
        if (!passing.IsComplete)
            return Step.NeedMoreData;
        uint sequence = passing.Header.Sequence;
        if (!frameIsVerified)
        {
            if (!passing.HasRightChecksum)
                return EndOfBadBytes(FrameReadResult.BadChecksum, out detail);
            if (fromDevice is not null && (!passing.Header.IsTagged || !passing.HasRightTag()))
                return EndOfAttack(passing.Header.IsTagged ? "bad-tag" : "untagged-frame", out detail);
            frameIsVerified = true;
        }

        if (!outbox.HasWindow)
            return Step.WaitForWindow;
        if (!TryTakeToken(out detail))
            return Step.WaitForToken;
        oversized = null;
        frameIsVerified = tokenIsTaken = false;
        if (!TakeDuplicate(sequence))
            Reject(sequence, NackReason.BodyTooLarge, "body-too-large", "the body is larger than accepted"u8);
        return Step.Taken;
    }

    private Step TakeDescribe(ReadOnlySpan<byte> body, out object? detail)
    {
        if (!TryTakeToken(out detail))
            return Step.WaitForToken;
        if (!DescribeReader.IsValid(body))
        {
            context.Metrics.FrameRejected("malformed-describe");
            return End(SessionEnding.Violation("malformed-describe"), out detail);
        }

        var entries = new List<Channel>();
        var reader = new DescribeReader(body);
        while (reader.TryRead(out ChannelDescription entry))
        {
            entries.Add(new Channel(
                entry.Channel, entry.Type, Encoding.UTF8.GetString(entry.Name), Encoding.UTF8.GetString(entry.Unit)));
        }

        ChannelTable changed = channels.With(entries);
        if (changed.Channels.Count > context.DevicesOptions.MaxChannels)
            return End(SessionEnding.Violation("too-many-channels"), out detail);
        if (!context.Buffer.TryHold(changed, context.DevicesOptions.MaxTableMemory))
            return End(SessionEnding.NoTableMemory, out detail);
        if (channels != ChannelTable.Empty)
            context.Buffer.Unhold(channels);
        channels = changed;
        context.Board.SetChannels(deviceId, changed);
        return Step.Taken;
    }

    private Step TakeResult(uint number, ReadOnlySpan<byte> body, out object? detail)
    {
        detail = null;
        if (!CommandResult.TryRead(body, out CommandResult result))
        {
            context.Metrics.FrameRejected("malformed-result");
            return End(SessionEnding.Violation("malformed-result"), out detail);
        }

        CommandRequest? request = null;
        lock (commandGate)
            commands?.Remove(number, out request);
        if (request is not null)
            context.Commands.Answer(new CommandAnswer(request, result.Status, result.Payload.ToArray(), null));
        return Step.Taken;
    }

    private void FailCommands()
    {
        CommandRequest[] unanswered;
        lock (commandGate)
        {
            unanswered = commands is null ? [] : [.. commands.Values];
            commands = null;
        }

        foreach (CommandRequest request in unanswered)
            context.Commands.Answer(new CommandAnswer(request, 0, [], "the connection ended before the device answered"));
    }
}
