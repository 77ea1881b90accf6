namespace IotTcpGateway.Protocol;

/// <summary>The rules for names that end up in MQTT topics.</summary>
public static class Names
{
    /// <summary>Whether bytes are a device id: 1–64 of A–Z a–z 0–9 . _ -, no dot in front, not reserved.</summary>
    public static bool IsDeviceId(ReadOnlySpan<byte> id)
    {
        if (id.Length is 0 or > ProtocolConstants.NameBytesMax || id[0] == (byte)'.')
            return false;
        foreach (byte b in id)
        {
            if (!IsNameByte(b))
                return false;
        }

        return !id.SequenceEqual("local"u8) && !id.SequenceEqual("status"u8);
    }

    /// <summary>
    /// Whether bytes are a channel name: levels of A–Z a–z 0–9 . _ - with slashes between, the first not reserved.
    /// </summary>
    public static bool IsChannelName(ReadOnlySpan<byte> name)
    {
        if (name.Length is 0 or > ProtocolConstants.NameBytesMax || name[0] == (byte)'/' || name[^1] == (byte)'/')
            return false;
        for (int i = 0; i < name.Length; i++)
        {
            bool slash = name[i] == (byte)'/';
            if (!slash && !IsNameByte(name[i]))
                return false;
            if (slash && name[i - 1] == (byte)'/')
                return false;
        }

        int end = name.IndexOf((byte)'/');
        return !IsReservedLevel(end < 0 ? name : name[..end]);
    }

    private static bool IsReservedLevel(ReadOnlySpan<byte> level) =>
        level.SequenceEqual("meta"u8) || level.SequenceEqual("status"u8) || level.SequenceEqual("command"u8)
        || level.SequenceEqual("result"u8) || level.SequenceEqual("gaps"u8);

    private static bool IsNameByte(byte b) =>
        b is (>= (byte)'A' and <= (byte)'Z') or (>= (byte)'a' and <= (byte)'z') or (>= (byte)'0' and <= (byte)'9')
            or (byte)'.' or (byte)'_' or (byte)'-';
}
