using System.Net;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>What each frame comes to.</summary>
internal sealed partial class Session
{
    private Step TakeFrame(ReadOnlySpan<byte> input, out int consumed)
    {
        consumed = 0;
        if (state == State.AwaitsPlace)
            return Step.WaitForPlace;
        if (oversized is not null)
            return TakeOversized(input, out consumed);
        FrameReadResult result = FrameReader.Read(
            input,
            IsOpen ? ProtocolConstants.BodyBytesMax : ProtocolConstants.ControlBodyBytesMax,
            IsOpen ? (int)limits.MaxBody : ProtocolConstants.ControlBodyBytesMax,
            tagAllowed: fromDevice is not null,
            out Frame frame,
            out FrameHeader header);
        switch (result)
        {
            case FrameReadResult.NeedMoreData:
                return Step.NeedMoreData;
            case FrameReadResult.BodyTooLarge when header.Type == FrameType.Data && header.Sequence != 0:
                oversized = new OversizedFrame(header, fromDevice);
                return TakeOversized(input, out consumed);
            case FrameReadResult.BodyTooLarge:
                return EndOfViolation(header.Type == FrameType.Data ? "sequence-zero" : "body-too-large");
            case FrameReadResult.Frame:
                return TakeWhole(frame, out consumed);
            default:
                return EndOfBadBytes(result);
        }
    }

    private Step EndOfBadBytes(FrameReadResult result)
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
        SessionEnding because = SessionEnding.BadBytes(label);
        if (result == FrameReadResult.BadVersion)
            because = because with { Refuse = RefuseReason.VersionNotSupported, Text = "version 1 is spoken here" };
        return End(because);
    }

    private Step TakeWhole(in Frame frame, out int consumed)
    {
        consumed = 0;
        if (fromDevice is not null && !frameIsVerified)
        {
            if (!frame.Header.IsTagged || !fromDevice.Verify(frame))
                return EndOfAttack(frame.Header.IsTagged ? "bad-tag" : "untagged-frame");
            frameIsVerified = true;
        }

        // Every frame counts, not DATA alone: a flood of PING would cost as much.
        if (IsOpen && !TryTakeToken())
            return Step.WaitForToken;
        Step step = Dispatch(frame);
        if (step == Step.Taken)
        {
            consumed = frame.Bytes.Length;
            FrameDone();
        }

        return step;
    }

    private void FrameDone() => frameIsVerified = tokenIsTaken = frameIsCounted = false;

    private Step EndOfAttack(string what)
    {
        context.Metrics.FrameRejected(what);
        if (listener.Log.Passes())
            LogTagFailure(context.Logger, deviceId, Address, what);
        return End(SessionEnding.Violation(what));
    }

    private Step Dispatch(in Frame frame)
    {
        FrameType type = frame.Header.Type;
        switch (state, type)
        {
            case (State.AwaitsHello, FrameType.Hello):
                return TakeHello(frame.Body);
            case (State.AwaitsAuth, FrameType.Auth):
                return TakeAuth(frame.Body);
            case (State.Open, FrameType.Data):
                return TakeData(frame.Header.Sequence, frame.Body);
            case (State.Open, FrameType.Describe):
                return TakeDescribe(frame.Body);
            case (State.Open, FrameType.Ping) when frame.Body.Length <= ProtocolConstants.PingBytesMax:
                if (outbox.IsBusy)
                    return Step.WaitForDrain;
                outbox.Send(FrameType.Pong, frame.Header.Sequence, frame.Body);
                return Step.Taken;
            case (State.Open, FrameType.Pong) when frame.Body.Length <= ProtocolConstants.PingBytesMax:
                return Step.Taken;
            case (State.Open, FrameType.Result):
                return TakeResult(frame.Header.Sequence, frame.Body);
            case (State.Open, FrameType.Bye) when frame.Body.Length == 1:
                return End(SessionEnding.PeerBye);
            default:
                context.Metrics.FrameRejected("unexpected-frame");
                return End(IsOpen
                    ? SessionEnding.Violation("unexpected-frame")
                    : SessionEnding.BadHandshake("unexpected-frame"));
        }
    }

    private Step TakeData(uint sequence, ReadOnlySpan<byte> body)
    {
        if (sequence == 0)
            return EndOfViolation("sequence-zero");
        if (!TryCount(sequence))
            return Step.WaitForWindow;
        if (TakeDuplicate(sequence))
            return Step.Taken;

        DataFault fault = DataReader.Check(body, out int records);
        if (fault != DataFault.None)
        {
            Reject(sequence, NackReason.MalformedBody, "malformed-body", Describe(fault, records + 1));
            return Step.Taken;
        }

        if (FirstRefusedChannel(body) is { } refused)
        {
            Reject(sequence, NackReason.ChannelNotAllowed, "channel-not-allowed", Encoding.UTF8.GetBytes($"{refused} is not allowed"));
            return Step.Taken;
        }

        uint highest = stream!.HighestTaken;
        switch (context.Buffer.TryAdd(stream, sequence, channels, arrival, body))
        {
            case AddResult.Full:
                return Step.WaitForRoom;
            case AddResult.Dropped:
                Reject(sequence, NackReason.Dropped, "buffer-full", "dropped, buffer full"u8);
                return Step.Taken;
            default:
                CountGap(highest, sequence);
                context.Metrics.FrameReceived();
                return Step.Taken;
        }
    }

    private string? FirstRefusedChannel(ReadOnlySpan<byte> body)
    {
        IReadOnlyList<string>? allowed = Volatile.Read(ref permissions).Channels;
        if (allowed is null)
            return null;
        if (channelPermit is null || !ReferenceEquals(channelPermit.Patterns, allowed))
            channelPermit = new ChannelPermit(allowed);
        return channelPermit.FirstRefused(body, channels);
    }

    // Before anything is done with the frame, so that it is outstanding when it becomes safe, however soon that is.
    private bool TryCount(uint sequence) => frameIsCounted = frameIsCounted || outbox.TryReceive(sequence);

    private bool TryTakeToken()
    {
        if (tokenIsTaken)
            return true;
        tokenDue = device!.Frames.Take(Volatile.Read(ref permissions).FramesPerSecond ?? limits.FramesPerSecond);
        tokenIsTaken = tokenDue == TimeSpan.Zero;
        return tokenIsTaken;
    }

    private bool TakeDuplicate(uint sequence)
    {
        if (sequence > stream!.HighestTaken)
            return false;
        context.Metrics.DuplicateReceived();
        if (sequence <= stream.SafeSequence)
            outbox.OweAck();
        return true;
    }

    // The NACK is owed first: no ACK that covers the frame may be composed before.
    private void Reject(uint sequence, NackReason reason, string label, ReadOnlySpan<byte> text)
    {
        CountGap(stream!.HighestTaken, sequence);
        context.Metrics.FrameRejected(label);
        outbox.OweNack(sequence, reason, text);
        context.Buffer.SkipSequence(stream, sequence);
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

    private Step TakeOversized(ReadOnlySpan<byte> input, out int consumed)
    {
        OversizedFrame passing = oversized!;
        consumed = passing.IsComplete ? 0 : passing.Append(input);
        if (!passing.IsComplete)
            return Step.NeedMoreData;
        uint sequence = passing.Header.Sequence;
        if (!frameIsVerified)
        {
            if (!passing.HasRightChecksum)
                return EndOfBadBytes(FrameReadResult.BadChecksum);
            if (fromDevice is not null && (!passing.Header.IsTagged || !passing.HasRightTag()))
                return EndOfAttack(passing.Header.IsTagged ? "bad-tag" : "untagged-frame");
            frameIsVerified = true;
        }

        if (!TryTakeToken())
            return Step.WaitForToken;
        if (!TryCount(sequence))
            return Step.WaitForWindow;
        oversized = null;
        FrameDone();
        if (!TakeDuplicate(sequence))
            Reject(sequence, NackReason.BodyTooLarge, "body-too-large", "the body is larger than accepted"u8);
        return Step.Taken;
    }

    private Step TakeDescribe(ReadOnlySpan<byte> body)
    {
        if (!DescribeReader.IsValid(body))
            return EndOfViolation("malformed-describe");
        var entries = new List<Channel>();
        var reader = new DescribeReader(body);
        while (reader.TryRead(out ChannelDescription entry))
        {
            entries.Add(new Channel(
                entry.Channel, entry.Type, Encoding.UTF8.GetString(entry.Name), Encoding.UTF8.GetString(entry.Unit)));
        }

        ChannelTable changed = channels.With(entries);
        if (changed.Channels.Count > context.DevicesOptions.MaxChannels)
            return EndOfViolation("too-many-channels");
        if (!context.Buffer.TryHold(changed, context.DevicesOptions.MaxTableMemory, out ChannelTable held))
        {
            if (listener.Log.Passes())
                LogNoTableMemory(context.Logger, deviceId, context.DevicesOptions.MaxTableMemory);
            return End(SessionEnding.NoTableMemory);
        }

        if (channels != ChannelTable.Empty)
            context.Buffer.Unhold(channels);
        channels = held;
        context.Board.SetChannels(deviceId, held);
        return Step.Taken;
    }

    private Step EndOfViolation(string label)
    {
        context.Metrics.FrameRejected(label);
        return End(SessionEnding.Violation(label));
    }

    private Step End(SessionEnding because)
    {
        ending = because;
        return Step.End;
    }

    [LoggerMessage(1204, LogLevel.Error,
        "device {Device} at {Address}: {Attack} in a tagged session: this is not noise, somebody alters the stream")]
    private static partial void LogTagFailure(ILogger logger, string device, IPAddress address, string attack);

    [LoggerMessage(1206, LogLevel.Warning,
        "no memory for the channels of device {Device}: all descriptions together take {Bytes} bytes; "
        + "raise devices.maxTableMemory")]
    private static partial void LogNoTableMemory(ILogger logger, string device, long bytes);
}
