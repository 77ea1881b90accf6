using System.Buffers.Binary;
using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <content>What the gateway says.</content>
internal sealed partial class Connection
{
    private async Task ReadAsync()
    {
        try
        {
            // The last receive of the handshake may have brought more than WELCOME.
            bool isListening = TakeFrames();
            while (true)
            {
                // After a breach the rest is read and thrown away, so that the BYE is not eaten by a reset.
                int count = await transport.Stream.ReadAsync(input.RoomToReceive()).ConfigureAwait(false);
                if (count == 0)
                    break;
                if (!isListening)
                    continue;
                input.Received(count);
                isListening = TakeFrames();
            }

            End(Endings.Closed);
        }
        catch (Exception lost) when (IsLoss(lost))
        {
            End(Endings.Lost(lost));
        }
        catch
        {
            // A callback threw: the other loop must not wait for ever.
            Cut();
            throw;
        }
    }

    private bool TakeFrames()
    {
        FrameReadResult result;
        bool isAny = false;
        while ((result = input.Read(fromGateway is not null, out Frame frame)) == FrameReadResult.Frame)
        {
            if (fromGateway is not null && (!frame.Header.IsTagged || !fromGateway.Verify(frame)))
                return Breach(Endings.BadTag);
            if (!Take(frame))
                return false;
            isAny = true;
        }

        if (result != FrameReadResult.NeedMoreData)
            return Breach(Endings.BadFrame(result));
        if (isAny)
            Volatile.Write(ref lastReceived, time.GetTimestamp());
        TimeFrameBegun(isAny);
        return true;
    }

    private void TimeFrameBegun(bool isNew)
    {
        if (!input.IsInsideFrame)
        {
            Volatile.Write(ref frameBegan, 0);
        }
        else if (isNew || frameBegan == 0)
        {
            // 0 says that there is none, and a clock may well begin there.
            Volatile.Write(ref frameBegan, Math.Max(time.GetTimestamp(), 1));
            Watch();
        }
    }

    private bool Take(in Frame frame)
    {
        ReadOnlySpan<byte> body = frame.Body;
        uint sequence = frame.Header.Sequence;
        switch (frame.Header.Type)
        {
            case FrameType.Ack when body.Length == sizeof(ushort):
                custody.Acknowledge(session, sequence, BinaryPrimitives.ReadUInt16LittleEndian(body));
                return true;
            case FrameType.Nack when Nack.TryRead(body, out Nack nack):
                custody.Refuse(session, sequence, nack.Reason, nack.Text);
                return true;
            case FrameType.Ping when body.Length <= ProtocolConstants.PingBytesMax:
                return TakePing(sequence, body);
            case FrameType.Pong when body.Length <= ProtocolConstants.PingBytesMax:
                return true;
            case FrameType.Command when Command.TryRead(body, out Command command):
                return TakeCommand(sequence, command);
            case FrameType.Bye when body.Length == 1:
                End(Endings.OfBye((ByeReason)body[0]));
                return false;
            case FrameType.Ack or FrameType.Nack or FrameType.Ping or FrameType.Pong:
            case FrameType.Command or FrameType.Bye:
                return Breach(Endings.Malformed(frame.Header.Type));
            default:
                return Breach(Endings.Unexpected(frame.Header.Type));
        }
    }

    private bool TakePing(uint sequence, ReadOnlySpan<byte> body)
    {
        if (outbox.IsOverfull)
            return Breach(Endings.Flooded);
        outbox.Add(FrameType.Pong, sequence, body.ToArray());
        wake.Set();
        return true;
    }

    private bool TakeCommand(uint number, in Command command)
    {
        if (outbox.IsOverfull)
            return Breach(Endings.Flooded);
        var asked = new DeviceCommand(Encoding.UTF8.GetString(command.Name), command.Payload.ToArray());
        commands.Take(new PendingCommand(this, number, asked, ended.Token));
        return true;
    }

    private bool Breach(ConnectionEnd reason)
    {
        End(reason, ByeReason.ProtocolError);
        return false;
    }
}
