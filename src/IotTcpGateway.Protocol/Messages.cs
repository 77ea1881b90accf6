using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>HELLO: who the device is. The spans lie in the body it was read from.</summary>
public readonly ref struct Hello
{
    /// <summary>How the device wants to authenticate; may be a value that is not known.</summary>
    public required AuthenticationMode Authentication { get; init; }

    /// <summary>Features wanted; unknown bits are kept.</summary>
    public required Features Features { get; init; }

    /// <summary>The boot id, not 0.</summary>
    public required uint BootId { get; init; }

    /// <summary>Highest sequence used in this boot; 0 for none.</summary>
    public required uint HighestUsed { get; init; }

    /// <summary>16 bytes of the device's nonce.</summary>
    public required ReadOnlySpan<byte> DeviceNonce { get; init; }

    /// <summary>The device id, checked by <see cref="Names.IsDeviceId"/>.</summary>
    public required ReadOnlySpan<byte> DeviceId { get; init; }

    /// <summary>Firmware version, up to 64 bytes of UTF-8; may be empty.</summary>
    public required ReadOnlySpan<byte> Firmware { get; init; }

    /// <summary>Reads a HELLO body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out Hello hello)
    {
        hello = default;
        var reader = new BodyReader(body);
        byte authentication = reader.U8();
        byte features = reader.U8();
        uint bootId = reader.U32();
        uint highestUsed = reader.U32();
        ReadOnlySpan<byte> nonce = reader.Take(ProtocolConstants.NonceBytes);
        ReadOnlySpan<byte> id = reader.Take(reader.U8());
        ReadOnlySpan<byte> firmware = reader.Take(reader.U8());
        if (!reader.IsAtEnd || bootId == 0 || !Names.IsDeviceId(id)
            || firmware.Length > ProtocolConstants.NameBytesMax || !System.Text.Unicode.Utf8.IsValid(firmware))
        {
            return false;
        }

        hello = new Hello
        {
            Authentication = (AuthenticationMode)authentication,
            Features = (Features)features,
            BootId = bootId,
            HighestUsed = highestUsed,
            DeviceNonce = nonce,
            DeviceId = id,
            Firmware = firmware,
        };
        return true;
    }

    /// <summary>Writes the body; returns its length. Fields against the rules: InvalidOperationException.</summary>
    public int WriteBody(Span<byte> destination)
    {
        if (BootId == 0)
            throw new InvalidOperationException("HELLO: a boot id is not 0");
        if (DeviceNonce.Length != ProtocolConstants.NonceBytes)
            throw new InvalidOperationException("HELLO: the nonce has 16 bytes");
        if (!Names.IsDeviceId(DeviceId))
            throw new InvalidOperationException("HELLO: not a device id");
        if (Firmware.Length > ProtocolConstants.NameBytesMax || !System.Text.Unicode.Utf8.IsValid(Firmware))
            throw new InvalidOperationException("HELLO: not a firmware version: up to 64 bytes of UTF-8");
        var writer = new BodyWriter(destination);
        writer.U8((byte)Authentication);
        writer.U8((byte)Features);
        writer.U32(BootId);
        writer.U32(HighestUsed);
        writer.Put(DeviceNonce);
        writer.U8((byte)DeviceId.Length);
        writer.Put(DeviceId);
        writer.U8((byte)Firmware.Length);
        writer.Put(Firmware);
        return writer.Written;
    }
}

/// <summary>WELCOME: the session begins.</summary>
public readonly ref struct Welcome
{
    /// <summary>Bytes of the body before the gateway's proof.</summary>
    public const int BytesBeforeProof = 19;

    /// <summary>Bytes of the body.</summary>
    public const int BodyBytes = BytesBeforeProof + ProtocolConstants.ProofBytes;

    /// <summary>The gateway's time in Unix µs; 0 if its clock is not synchronised.</summary>
    public required long GatewayTime { get; init; }

    /// <summary>Last safe sequence of this device and boot id; 0 for none.</summary>
    public required uint LastSafeSequence { get; init; }

    /// <summary>How many DATA frames may be outstanding; 0 means wait.</summary>
    public required ushort Window { get; init; }

    /// <summary>Largest body accepted, in bytes.</summary>
    public required ushort LargestBody { get; init; }

    /// <summary>Idle timeout in seconds.</summary>
    public required ushort IdleTimeoutSeconds { get; init; }

    /// <summary>Features granted.</summary>
    public required Features FeaturesGranted { get; init; }

    /// <summary>32 bytes of proof; zeros unless HMAC.</summary>
    public ReadOnlySpan<byte> GatewayProof { get; init; }

    /// <summary>Reads a WELCOME body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out Welcome welcome)
    {
        welcome = default;
        if (body.Length != BodyBytes)
            return false;
        var reader = new BodyReader(body);
        welcome = new Welcome
        {
            GatewayTime = reader.I64(),
            LastSafeSequence = reader.U32(),
            Window = reader.U16(),
            LargestBody = reader.U16(),
            IdleTimeoutSeconds = reader.U16(),
            FeaturesGranted = (Features)reader.U8(),
            GatewayProof = reader.Take(ProtocolConstants.ProofBytes),
        };
        return true;
    }

    /// <summary>Writes the 51-byte body; an empty proof is written as zeros. Returns its length.</summary>
    public int WriteBody(Span<byte> destination)
    {
        if (GatewayProof.Length is not (0 or ProtocolConstants.ProofBytes))
            throw new InvalidOperationException("WELCOME: the proof has 32 bytes or is left out");
        var writer = new BodyWriter(destination);
        writer.I64(GatewayTime);
        writer.U32(LastSafeSequence);
        writer.U16(Window);
        writer.U16(LargestBody);
        writer.U16(IdleTimeoutSeconds);
        writer.U8((byte)FeaturesGranted);
        Span<byte> proof = destination.Slice(BytesBeforeProof, ProtocolConstants.ProofBytes);
        proof.Clear();
        GatewayProof.CopyTo(proof);
        return BodyBytes;
    }
}

/// <summary>REFUSE: no session.</summary>
public readonly ref struct Refuse
{
    /// <summary>Why.</summary>
    public required RefuseReason Reason { get; init; }

    /// <summary>Not before so many seconds.</summary>
    public required ushort RetryAfterSeconds { get; init; }

    /// <summary>UTF-8 text for people.</summary>
    public required ReadOnlySpan<byte> Text { get; init; }

    /// <summary>Reads a REFUSE body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out Refuse refuse)
    {
        refuse = default;
        if (body.Length < 3 || !System.Text.Unicode.Utf8.IsValid(body[3..]))
            return false;
        refuse = new Refuse
        {
            Reason = (RefuseReason)body[0],
            RetryAfterSeconds = BinaryPrimitives.ReadUInt16LittleEndian(body[1..]),
            Text = body[3..],
        };
        return true;
    }

    /// <summary>Writes the body; returns its length. A text that the frame or the room cannot hold is cut.</summary>
    public int WriteBody(Span<byte> destination)
    {
        var writer = new BodyWriter(destination);
        writer.U8((byte)Reason);
        writer.U16(RetryAfterSeconds);
        writer.Put(TextForPeople.Fit(Text, destination.Length - writer.Written, writer.Written));
        return writer.Written;
    }
}

/// <summary>NACK: the DATA frame of this sequence will never be forwarded.</summary>
public readonly ref struct Nack
{
    /// <summary>Why.</summary>
    public required NackReason Reason { get; init; }

    /// <summary>UTF-8 text for people.</summary>
    public required ReadOnlySpan<byte> Text { get; init; }

    /// <summary>Reads a NACK body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out Nack nack)
    {
        nack = default;
        if (body.Length < 1 || !System.Text.Unicode.Utf8.IsValid(body[1..]))
            return false;
        nack = new Nack { Reason = (NackReason)body[0], Text = body[1..] };
        return true;
    }

    /// <summary>Writes the body; returns its length. A text that the frame or the room cannot hold is cut.</summary>
    public int WriteBody(Span<byte> destination)
    {
        var writer = new BodyWriter(destination);
        writer.U8((byte)Reason);
        writer.Put(TextForPeople.Fit(Text, destination.Length - writer.Written, writer.Written));
        return writer.Written;
    }
}

/// <summary>COMMAND: the gateway asks the device to do something.</summary>
public readonly ref struct Command
{
    /// <summary>Bytes of name and payload together that a COMMAND holds.</summary>
    public const int NameAndPayloadBytesMax = ProtocolConstants.ControlBodyBytesMax - 3;

    /// <summary>Name, 1–255 bytes of UTF-8.</summary>
    public required ReadOnlySpan<byte> Name { get; init; }

    /// <summary>Payload, opaque.</summary>
    public required ReadOnlySpan<byte> Payload { get; init; }

    /// <summary>Reads a COMMAND body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out Command command)
    {
        command = default;
        var reader = new BodyReader(body);
        ReadOnlySpan<byte> name = reader.Take(reader.U8());
        ReadOnlySpan<byte> payload = reader.Take(reader.U16());
        if (!reader.IsAtEnd || name.IsEmpty || !System.Text.Unicode.Utf8.IsValid(name))
            return false;
        command = new Command { Name = name, Payload = payload };
        return true;
    }

    /// <summary>Writes the body; returns its length. Fields against the rules: InvalidOperationException.</summary>
    public int WriteBody(Span<byte> destination)
    {
        if (Name.Length is 0 or > byte.MaxValue || !System.Text.Unicode.Utf8.IsValid(Name))
            throw new InvalidOperationException("not a command's name: 1 to 255 bytes of UTF-8");
        if (Name.Length + Payload.Length > NameAndPayloadBytesMax)
            throw new InvalidOperationException("name and payload are longer than a COMMAND holds");
        var writer = new BodyWriter(destination);
        writer.U8((byte)Name.Length);
        writer.Put(Name);
        writer.U16((ushort)Payload.Length);
        writer.Put(Payload);
        return writer.Written;
    }
}

/// <summary>RESULT: what came of a COMMAND.</summary>
public readonly ref struct CommandResult
{
    /// <summary>0 done; others are the device's own.</summary>
    public required byte Status { get; init; }

    /// <summary>Payload, opaque.</summary>
    public required ReadOnlySpan<byte> Payload { get; init; }

    /// <summary>Reads a RESULT body; false if it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> body, out CommandResult result)
    {
        result = default;
        var reader = new BodyReader(body);
        byte status = reader.U8();
        ReadOnlySpan<byte> payload = reader.Take(reader.U16());
        if (!reader.IsAtEnd)
            return false;
        result = new CommandResult { Status = status, Payload = payload };
        return true;
    }

    /// <summary>Writes the body; returns its length. Too long a payload is an InvalidOperationException.</summary>
    public int WriteBody(Span<byte> destination)
    {
        if (Payload.Length > ProtocolConstants.BodyBytesMax - 3)
            throw new InvalidOperationException("the payload is longer than a RESULT holds");
        var writer = new BodyWriter(destination);
        writer.U8(Status);
        writer.U16((ushort)Payload.Length);
        writer.Put(Payload);
        return writer.Written;
    }
}

/// <summary>Text of REFUSE and NACK: it is for people, so better cut than not sent.</summary>
file static class TextForPeople
{
    /// <summary>The longest front of a text that fits and does not end within a character.</summary>
    public static ReadOnlySpan<byte> Fit(ReadOnlySpan<byte> text, int roomBytes, int bytesBefore)
    {
        int length = Math.Min(text.Length, Math.Min(roomBytes, ProtocolConstants.ControlBodyBytesMax - bytesBefore));
        while (length > 0 && length < text.Length && (text[length] & 0xC0) == 0x80)
            length--;
        return text[..length];
    }
}
