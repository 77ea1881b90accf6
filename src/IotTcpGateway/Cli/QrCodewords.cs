namespace IotTcpGateway.Cli;

/// <summary>The bytes of a QR code: the text, filled up, and what mends misread ones (ISO/IEC 18004, level L).</summary>
internal static class QrCodewords
{
    private const int ByteMode = 0b0100;

    // Table 9 of the standard, from version 1.
    private static readonly byte[] CorrectionBytesOfBlock = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30];
    private static readonly byte[] Blocks = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4];

    public static bool Fits(int version, int bytes) => 4 + LengthBits(version) + (bytes * 8) <= DataBytes(version) * 8;

    /// <summary>All codewords, in the order in which they are drawn.</summary>
    public static byte[] Of(int version, ReadOnlySpan<byte> text)
    {
        byte[] data = Data(version, text);
        int blocks = Blocks[version - 1];
        int correction = CorrectionBytesOfBlock[version - 1];
        int shortBytes = data.Length / blocks;
        int shortBlocks = blocks - (data.Length % blocks);
        byte[] divisor = Divisor(correction);
        byte[] all = new byte[RawBytes(version)];
        int taken = 0;
        for (int block = 0; block < blocks; block++)
        {
            int bytes = shortBytes + (block < shortBlocks ? 0 : 1);
            ReadOnlySpan<byte> part = data.AsSpan(taken, bytes);
            taken += bytes;
            for (int i = 0; i < bytes; i++)
                all[(i * blocks) + block - (i == shortBytes ? shortBlocks : 0)] = part[i];
            byte[] remainder = Remainder(part, divisor);
            for (int i = 0; i < correction; i++)
                all[data.Length + (i * blocks) + block] = remainder[i];
        }

        return all;
    }

    /// <summary>Where alignment patterns are centred, on both axes.</summary>
    public static int[] AlignmentCentres(int version)
    {
        if (version == 1)
            return [];
        int[] centres = new int[(version / 7) + 2];
        int step = ((version * 4) + (centres.Length * 2) + 1) / ((centres.Length * 2) - 2) * 2;
        centres[0] = 6;
        for (int i = centres.Length - 1, at = (version * 4) + 10; i >= 1; i--, at -= step)
            centres[i] = at;
        return centres;
    }

    private static int LengthBits(int version) => version < 10 ? 8 : 16;

    private static int DataBytes(int version) =>
        RawBytes(version) - (CorrectionBytesOfBlock[version - 1] * Blocks[version - 1]);

    private static int RawBytes(int version)
    {
        int modules = (((16 * version) + 128) * version) + 64;
        if (version >= 2)
        {
            int alignments = (version / 7) + 2;
            modules -= (((25 * alignments) - 10) * alignments) - 55;
        }

        return (version >= 7 ? modules - 36 : modules) / 8;
    }

    private static byte[] Data(int version, ReadOnlySpan<byte> text)
    {
        byte[] data = new byte[DataBytes(version)];
        int bit = 0;
        Append(ByteMode, 4);
        Append(text.Length, LengthBits(version));
        foreach (byte one in text)
            Append(one, 8);
        // Four zero bits end the text, or as many as there is room for, and zeros end the byte.
        bit = (Math.Min(bit + 4, data.Length * 8) + 7) / 8 * 8;
        for (int filler = 0xEC; bit < data.Length * 8; filler ^= 0xEC ^ 0x11)
            Append(filler, 8);
        return data;

        void Append(int value, int bits)
        {
            for (int i = bits - 1; i >= 0; i--, bit++)
                data[bit >> 3] |= (byte)(((value >> i) & 1) << (7 - (bit & 7)));
        }
    }

    private static byte[] Divisor(int degree)
    {
        byte[] divisor = new byte[degree];
        divisor[^1] = 1;
        byte root = 1;
        for (int i = 0; i < degree; i++)
        {
            for (int j = 0; j < degree; j++)
                divisor[j] = (byte)(Multiply(divisor[j], root) ^ (j + 1 < degree ? divisor[j + 1] : 0));
            root = Multiply(root, 2);
        }

        return divisor;
    }

    private static byte[] Remainder(ReadOnlySpan<byte> data, byte[] divisor)
    {
        byte[] remainder = new byte[divisor.Length];
        foreach (byte one in data)
        {
            byte factor = (byte)(one ^ remainder[0]);
            remainder.AsSpan(1).CopyTo(remainder);
            remainder[^1] = 0;
            for (int i = 0; i < remainder.Length; i++)
                remainder[i] ^= Multiply(divisor[i], factor);
        }

        return remainder;
    }

    // In the field of 256 elements by x^8 + x^4 + x^3 + x^2 + 1.
    private static byte Multiply(byte one, byte other)
    {
        int product = 0;
        for (int i = 7; i >= 0; i--)
            product = (product << 1) ^ ((product >> 7) * 0x11D) ^ (((other >> i) & 1) * one);
        return (byte)product;
    }
}
