using System.Globalization;
using System.Text;

using IotTcpGateway.Escaping;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Cli;

/// <summary>Writes what each frame of a stream says, in words; text from devices is escaped.</summary>
internal static class FrameExplainer
{
    /// <summary>Explains until the end or the first byte that is not right; false then.</summary>
    public static bool Explain(ReadOnlySpan<byte> stream, TextWriter output)
    {
        bool isRight = true;
        int offset = 0;
        while (offset < stream.Length)
        {
            FrameReadResult result = FrameReader.Read(stream[offset..], out Frame frame);
            if (result != FrameReadResult.Frame)
            {
                output.WriteLine(FormattableString.Invariant($"at byte {offset}: {Problem(result, stream[offset..])}"));
                return false;
            }

            FrameHeader header = frame.Header;
            output.WriteLine(FormattableString.Invariant(
                $"at byte {offset}: {Name(header.Type)}, sequence {header.Sequence}, body {header.BodyBytes} bytes{(header.IsTagged ? ", tagged" : "")}, CRC right"));
            isRight &= ExplainBody(header.Type, frame.Body, output) && IsAllowed(header, output);
            if (header.IsTagged)
                Line(output, "tag", Convert.ToHexStringLower(frame.Tag));
            offset += frame.Bytes.Length;
        }

        return isRight;
    }

    private static string Name(FrameType type) =>
        Enum.IsDefined(type) ? type.ToString().ToUpperInvariant() : $"unknown type {(byte)type:X2}";

    private static string Problem(FrameReadResult result, ReadOnlySpan<byte> rest) => result switch
    {
        FrameReadResult.NeedMoreData => FormattableString.Invariant($"the frame is not complete: only {rest.Length} bytes are there"),
        FrameReadResult.BadMagic => $"no frame begins here: it would begin with C7 49, here is {Convert.ToHexString(rest[..Math.Min(2, rest.Length)])}",
        FrameReadResult.BadVersion => $"version {rest[2]} is not known, 1 is",
        FrameReadResult.BadFlags => $"reserved flags are set: {rest[6] | ((rest.Length > 7 ? rest[7] : 0) << 8):X4}",
        FrameReadResult.BadLength => $"the body is longer than {ProtocolConstants.BodyBytesMax} bytes",
        FrameReadResult.BadChecksum => "the CRC is wrong: the bytes were altered",
        _ => "it is not a frame",
    };

    // What a gateway would answer with BYE 4 although the frame is whole and its body legal.
    private static bool IsAllowed(in FrameHeader header, TextWriter output)
    {
        string wrong = header switch
        {
            { Type: var type } when !Enum.IsDefined(type) => "the protocol has no such type",
            { Type: FrameType.Data, Sequence: 0 } => "DATA is numbered from 1",
            _ => "",
        };
        return wrong.Length == 0 || !Line(output, "not allowed", wrong);
    }

    private static bool ExplainBody(FrameType type, ReadOnlySpan<byte> body, TextWriter output)
    {
        bool isRight = type switch
        {
            FrameType.Hello => ExplainHello(body, output),
            FrameType.Challenge => ExplainBytes("gateway nonce", body, ProtocolConstants.NonceBytes, output),
            FrameType.Auth => ExplainBytes("device proof", body, ProtocolConstants.ProofBytes, output),
            FrameType.Welcome => ExplainWelcome(body, output),
            FrameType.Refuse => ExplainRefuse(body, output),
            FrameType.Describe => ExplainDescribe(body, output),
            FrameType.Data => ExplainData(body, output),
            FrameType.Ack => body.Length == 2 && Line(output, "window", Number(body[0] | (body[1] << 8))),
            FrameType.Nack => ExplainNack(body, output),
            FrameType.Ping or FrameType.Pong => body.Length <= ProtocolConstants.PingBytesMax
                && (body.IsEmpty || Line(output, "echo", Convert.ToHexStringLower(body))),
            FrameType.Command => ExplainCommand(body, output),
            FrameType.Result => ExplainResult(body, output),
            FrameType.Bye => body.Length == 1 && Line(output, "reason", Word((ByeReason)body[0])),
            _ => Line(output, "body", Convert.ToHexStringLower(body)),
        };
        if (!isRight)
            Line(output, "malformed", $"this body is not what {Name(type)} carries: {Convert.ToHexStringLower(body)}");
        return isRight;
    }

    private static bool ExplainHello(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!Hello.TryRead(body, out Hello hello))
            return false;
        Line(output, "authentication", Word(hello.Authentication));
        Line(output, "features", hello.Features.ToString());
        Line(output, "boot id", Number(hello.BootId));
        Line(output, "highest used", Number(hello.HighestUsed));
        Line(output, "device nonce", Convert.ToHexStringLower(hello.DeviceNonce));
        Line(output, "device id", Escape(hello.DeviceId));
        return Line(output, "firmware", Escape(hello.Firmware));
    }

    private static bool ExplainWelcome(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!Welcome.TryRead(body, out Welcome welcome))
            return false;
        Line(output, "gateway time", welcome.GatewayTime == 0 ? "not synchronised" : Time(welcome.GatewayTime));
        Line(output, "last safe", Number(welcome.LastSafeSequence));
        Line(output, "window", Number(welcome.Window));
        Line(output, "largest body", $"{Number(welcome.LargestBody)} bytes");
        Line(output, "idle timeout", $"{Number(welcome.IdleTimeoutSeconds)} s");
        Line(output, "features", welcome.FeaturesGranted.ToString());
        return Line(output, "gateway proof", Convert.ToHexStringLower(welcome.GatewayProof));
    }

    private static bool ExplainRefuse(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!Refuse.TryRead(body, out Refuse refuse))
            return false;
        Line(output, "reason", Word(refuse.Reason));
        Line(output, "retry after", $"{Number(refuse.RetryAfterSeconds)} s");
        return Line(output, "text", Escape(refuse.Text));
    }

    private static bool ExplainNack(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!Nack.TryRead(body, out Nack nack))
            return false;
        Line(output, "reason", Word(nack.Reason));
        return Line(output, "text", Escape(nack.Text));
    }

    private static bool ExplainDescribe(ReadOnlySpan<byte> body, TextWriter output)
    {
        var reader = new DescribeReader(body);
        while (reader.TryRead(out ChannelDescription entry))
        {
            string unit = entry.Unit.IsEmpty ? "no unit" : Escape(entry.Unit);
            Line(output, $"channel {Number(entry.Channel)}", $"{Escape(entry.Name)}, {DataTypes.Word(entry.Type)}, {unit}");
        }

        return DescribeReader.IsValid(body);
    }

    private static bool ExplainData(ReadOnlySpan<byte> body, TextWriter output)
    {
        DataFault fault = DataReader.Check(body, out int records);
        var reader = new DataReader(body);
        if (fault != DataFault.Empty)
            Line(output, "base time", reader.BaseTime == 0 ? "none, the device has no clock" : Time(reader.BaseTime));
        while (reader.TryRead(out DataRecord record))
        {
            string at = record.OffsetMilliseconds == 0 ? "" : $" at +{Number(record.OffsetMilliseconds)} ms";
            Line(output, $"channel {Number(record.Channel)}", $"{DataTypes.Word(record.Type)} {Value(record)}{at}");
        }

        return fault == DataFault.None || !Line(output, "fault", $"record {Number(records + 1)}: {fault}");
    }

    private static bool ExplainCommand(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!Protocol.Command.TryRead(body, out Protocol.Command command))
            return false;
        Line(output, "name", Escape(command.Name));
        return Line(output, "payload", Convert.ToHexStringLower(command.Payload));
    }

    private static bool ExplainResult(ReadOnlySpan<byte> body, TextWriter output)
    {
        if (!CommandResult.TryRead(body, out CommandResult result))
            return false;
        Line(output, "status", Number(result.Status));
        return Line(output, "payload", Convert.ToHexStringLower(result.Payload));
    }

    private static bool ExplainBytes(string name, ReadOnlySpan<byte> body, int bytes, TextWriter output) =>
        body.Length == bytes && Line(output, name, Convert.ToHexStringLower(body));

    /// <summary>A value as a person would write it.</summary>
    public static string Value(in DataRecord record) => record.Type switch
    {
        DataType.Bool => record.AsBool() ? "true" : "false",
        DataType.F32 => record.AsSingle().ToString(CultureInfo.InvariantCulture),
        DataType.F64 => record.AsDouble().ToString(CultureInfo.InvariantCulture),
        DataType.Text => $"\"{Escape(record.Value)}\"",
        DataType.Bytes => Convert.ToHexStringLower(record.Value),
        DataType.I8 or DataType.I16 or DataType.I32 or DataType.I64 => Number(record.AsSigned()),
        _ => record.AsUnsigned().ToString(CultureInfo.InvariantCulture),
    };

    private static bool Line(TextWriter output, string name, string value)
    {
        output.WriteLine($"  {name,-16} {value}");
        return true;
    }

    private static string Time(long microseconds)
    {
        // What lies outside the calendar is shown as it is.
        const long first = -62_135_596_800_000_000, last = 253_402_300_799_999_999;
        return microseconds is < first or > last
            ? $"{Number(microseconds)} µs"
            : DateTimeOffset.UnixEpoch.AddMicroseconds(microseconds).ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);
    }

    private static string Word<T>(T reason)
        where T : struct, Enum => Enum.IsDefined(reason) ? $"{reason:D} {reason}" : $"{reason:D} unknown";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    /// <inheritdoc cref="Escape(string)"/>
    public static string Escape(ReadOnlySpan<byte> text) => Escape(Encoding.UTF8.GetString(text));

    /// <summary>Text of a device as a terminal may show it.</summary>
    public static string Escape(string text)
    {
        var escaped = new StringBuilder();
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (SafeText.IsShown(rune) && rune.Value is not ('"' or '\\'))
                escaped.Append(rune);
            else
                escaped.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}");
        }

        return escaped.ToString();
    }
}
