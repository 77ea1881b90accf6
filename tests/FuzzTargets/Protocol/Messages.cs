using System.Text.Unicode;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Protocol;

/// <summary>
/// What holds for any body of any type: reading never throws; what is read follows the rules, and written again gives
/// the same bytes.
/// </summary>
internal static class Messages
{
    public static void Check(FrameType type, ReadOnlySpan<byte> body)
    {
        // Exactly as long as the body: a writer that needs more room than it writes fails here.
        var copy = new byte[body.Length];
        switch (type)
        {
            case FrameType.Hello when Hello.TryRead(body, out Hello hello):
                CheckHello(hello);
                Same(body, copy, hello.WriteBody(copy), "HELLO");
                break;
            case FrameType.Welcome when Welcome.TryRead(body, out Welcome welcome):
                Same(body, copy, welcome.WriteBody(copy), "WELCOME");
                break;
            case FrameType.Refuse when Refuse.TryRead(body, out Refuse refuse):
                Require.That(Utf8.IsValid(refuse.Text), "a REFUSE text that is not UTF-8");
                if (body.Length <= ProtocolConstants.ControlBodyBytesMax)
                    Same(body, copy, refuse.WriteBody(copy), "REFUSE");
                break;
            case FrameType.Nack when Nack.TryRead(body, out Nack nack):
                Require.That(Utf8.IsValid(nack.Text), "a NACK text that is not UTF-8");
                if (body.Length <= ProtocolConstants.ControlBodyBytesMax)
                    Same(body, copy, nack.WriteBody(copy), "NACK");
                break;
            case FrameType.Command when Command.TryRead(body, out Command command):
                Require.That(command.Name.Length > 0 && Utf8.IsValid(command.Name), "a bad COMMAND name");
                if (body.Length <= ProtocolConstants.ControlBodyBytesMax)
                    Same(body, copy, command.WriteBody(copy), "COMMAND");
                break;
            case FrameType.Result when CommandResult.TryRead(body, out CommandResult result):
                Same(body, copy, result.WriteBody(copy), "RESULT");
                break;
            case FrameType.Describe:
                CheckDescribe(body, copy);
                break;
            case FrameType.Data:
                CheckData(body, copy);
                break;
        }
    }

    private static void CheckHello(in Hello hello)
    {
        Require.That(hello.BootId != 0, "boot id 0");
        Require.That(Names.IsDeviceId(hello.DeviceId), "a bad device id");
        Require.That(hello.DeviceNonce.Length == ProtocolConstants.NonceBytes, "a nonce of another length");
        Require.That(hello.Firmware.Length <= ProtocolConstants.NameBytesMax, "a long firmware version");
        Require.That(Utf8.IsValid(hello.Firmware), "a firmware version that is not UTF-8");
    }

    private static void CheckDescribe(ReadOnlySpan<byte> body, byte[] copy)
    {
        bool isValid = DescribeReader.IsValid(body);
        var reader = new DescribeReader(body);
        var writer = new DescribeWriter(copy.Length > 0 ? copy : new byte[1]);
        int entries = 0;
        while (reader.TryRead(out ChannelDescription entry))
        {
            entries++;
            Require.That(DataTypes.IsKnown((byte)entry.Type), "an unknown value type");
            Require.That(Names.IsChannelName(entry.Name), "a bad channel name");
            Require.That(entry.Unit.Length <= ProtocolConstants.UnitBytesMax && Utf8.IsValid(entry.Unit), "a bad unit");
            bool isWritten = writer.TryAdd(entry.Channel, entry.Type, entry.Name, entry.Unit);
            Require.That(isWritten, "an entry read cannot be written");
        }

        Require.That(!reader.TryRead(out _), "an entry after the end");
        Require.That(!isValid || entries == reader.Count, "a valid DESCRIBE with other entries than it announces");
        if (isValid)
            Same(body, copy, writer.Written, "DESCRIBE");
    }

    private static void CheckData(ReadOnlySpan<byte> body, byte[] copy)
    {
        DataFault fault = DataReader.Check(body, out int records);
        Require.That(Enum.IsDefined(fault), "an unknown fault");
        if (body.Length < DataReader.BaseTimeBytes)
        {
            Require.That(fault == DataFault.Empty, "a body without a base time is not empty");
            return;
        }

        var reader = new DataReader(body);
        var writer = new DataWriter(copy, reader.BaseTime);
        int read = 0;
        for (int offset = reader.BytesRead; reader.TryRead(out DataRecord record); offset = reader.BytesRead)
        {
            read++;
            CheckRecord(record, reader.BaseTime);
            DataRecord again = DataReader.RecordAt(body, offset);
            Require.That(again.Channel == record.Channel && again.Value == record.Value, "RecordAt: another record");
            Require.That(
                writer.AddRaw(record.Channel, record.Type, record.OffsetMilliseconds, record.Value),
                "a record read cannot be written");
        }

        Require.That(!reader.TryRead(out _), "a record after the end");
        Require.That(read == records, "Check and TryRead count differently");
        if (fault != DataFault.None)
            return;
        Require.That(read > 0 && reader.BytesRead == body.Length, "a right body that is not read to its end");
        Same(body, copy, writer.Written, "DATA");
    }

    private static void CheckRecord(in DataRecord record, long baseTime)
    {
        Require.That(DataTypes.IsKnown((byte)record.Type), "an unknown value type");
        int bytes = DataTypes.FixedBytes(record.Type);
        Require.That(bytes == 0 || record.Value.Length == bytes, "a value of another size than its type's");
        Int128 time = (Int128)baseTime + ((Int128)record.OffsetMilliseconds * 1000);
        Require.That(time >= long.MinValue && time <= long.MaxValue, "a time out of range");
        switch (record.Type)
        {
            case DataType.I8 or DataType.I16 or DataType.I32 or DataType.I64:
                Int128 half = Int128.One << ((bytes * 8) - 1);
                Require.That(record.AsSigned() >= -half && record.AsSigned() < half, "a signed value beyond its type");
                break;
            case DataType.U8 or DataType.U16 or DataType.U32 or DataType.U64:
                Require.That(record.AsUnsigned() < UInt128.One << (bytes * 8), "an unsigned value beyond its type");
                break;
            case DataType.F32:
                Require.SameBytes(record.Value, BitConverter.GetBytes(record.AsSingle()), "an f32");
                break;
            case DataType.F64:
                Require.SameBytes(record.Value, BitConverter.GetBytes(record.AsDouble()), "an f64");
                break;
            case DataType.Bool:
                Require.That(record.Value[0] <= 1 && record.AsBool() == (record.Value[0] == 1), "a bad bool");
                break;
            case DataType.Text:
                Require.That(record.Value.Length <= byte.MaxValue && Utf8.IsValid(record.Value), "a bad text");
                break;
        }
    }

    private static void Same(ReadOnlySpan<byte> body, byte[] copy, int written, string what) =>
        Require.SameBytes(body, copy.AsSpan(0, written), what);
}
