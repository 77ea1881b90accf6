using System.Text;

namespace IotTcpGateway.Cli;

/// <summary>
/// A QR code of bytes (ISO/IEC 18004, byte mode, error correction level L, versions 1 to 14: what a terminal shows
/// whole). Written here because QRCoder would bring System.Drawing.Common into the product.
/// </summary>
internal sealed class QrCode
{
    /// <summary>Bytes of text that the largest version holds.</summary>
    public const int BytesMax = 458;

    private const int VersionMax = 14;
    private const int QuietModules = 4;
    private const int FormatOfLevelL = 1;

    private readonly bool[,] isFixed;
    private readonly bool[,] isDark;

    private QrCode(int version)
    {
        Size = (version * 4) + 17;
        isFixed = new bool[Size, Size];
        isDark = new bool[Size, Size];
    }

    /// <summary>Modules on a side.</summary>
    public int Size { get; }

    /// <summary>Whether a module is dark; outside all are light.</summary>
    public bool this[int x, int y] => x >= 0 && y >= 0 && x < Size && y < Size && isDark[y, x];

    /// <summary>Makes the code; null when the text is too long for it.</summary>
    public static QrCode? Of(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        int version = 1;
        while (version <= VersionMax && !QrCodewords.Fits(version, bytes.Length))
            version++;
        if (version > VersionMax)
            return null;
        var code = new QrCode(version);
        code.DrawPatterns(version);
        code.DrawCodewords(QrCodewords.Of(version, bytes));
        code.Mask(code.BestMask());
        return code;
    }

    /// <summary>Two rows of modules a line of text, with the light border that readers want.</summary>
    /// <param name="withColours">Black on white whatever the terminal's colours are; else for a dark terminal.</param>
    public string ToText(bool withColours)
    {
        var text = new StringBuilder();
        for (int y = -QuietModules; y < Size + QuietModules; y += 2)
        {
            text.Append(withColours ? "\e[38;5;16;48;5;231m" : "");
            for (int x = -QuietModules; x < Size + QuietModules; x++)
            {
                // Without colours the light modules are the ones that are drawn.
                bool upper = this[x, y] == withColours;
                bool lower = this[x, y + 1] == withColours;
                text.Append(upper ? (lower ? '█' : '▀') : (lower ? '▄' : ' '));
            }

            text.Append(withColours ? "\e[0m\n" : "\n");
        }

        return text.ToString();
    }

    private void DrawPatterns(int version)
    {
        for (int i = 0; i < Size; i++)
        {
            Fix(6, i, i % 2 == 0);
            Fix(i, 6, i % 2 == 0);
        }

        DrawSquares(3, 3, 4);
        DrawSquares(Size - 4, 3, 4);
        DrawSquares(3, Size - 4, 4);
        int[] centres = QrCodewords.AlignmentCentres(version);
        for (int i = 0; i < centres.Length; i++)
        {
            for (int j = 0; j < centres.Length; j++)
            {
                bool isFinder = (i == 0 && (j == 0 || j == centres.Length - 1)) || (i == centres.Length - 1 && j == 0);
                if (!isFinder)
                    DrawSquares(centres[i], centres[j], 2);
            }
        }

        DrawFormat(0);
        DrawVersion(version);
    }

    // A finder with its light frame (4), or an alignment pattern (2): squares one in the other.
    private void DrawSquares(int x, int y, int radius)
    {
        for (int dy = -radius; dy <= radius; dy++)
        {
            for (int dx = -radius; dx <= radius; dx++)
            {
                int distance = Math.Max(Math.Abs(dx), Math.Abs(dy));
                if (x + dx >= 0 && x + dx < Size && y + dy >= 0 && y + dy < Size)
                    Fix(x + dx, y + dy, radius == 4 ? distance is not (2 or 4) : distance != 1);
            }
        }
    }

    private void DrawFormat(int mask)
    {
        int data = (FormatOfLevelL << 3) | mask;
        int remainder = data;
        for (int i = 0; i < 10; i++)
            remainder = (remainder << 1) ^ ((remainder >> 9) * 0x537);
        int bits = ((data << 10) | remainder) ^ 0x5412;
        for (int i = 0; i < 15; i++)
        {
            bool bit = ((bits >> i) & 1) != 0;
            (int x, int y) = i switch
            {
                < 6 => (8, i),
                6 or 7 => (8, i + 1),
                8 => (7, 8),
                _ => (14 - i, 8),
            };
            Fix(x, y, bit);
            Fix(i < 8 ? Size - 1 - i : 8, i < 8 ? 8 : Size - 15 + i, bit);
        }

        Fix(8, Size - 8, true);
    }

    private void DrawVersion(int version)
    {
        if (version < 7)
            return;
        int remainder = version;
        for (int i = 0; i < 12; i++)
            remainder = (remainder << 1) ^ ((remainder >> 11) * 0x1F25);
        int bits = (version << 12) | remainder;
        for (int i = 0; i < 18; i++)
        {
            bool bit = ((bits >> i) & 1) != 0;
            Fix(Size - 11 + (i % 3), i / 3, bit);
            Fix(i / 3, Size - 11 + (i % 3), bit);
        }
    }

    // Two columns at a time from the right, up and down in turn, past the timing column.
    private void DrawCodewords(byte[] codewords)
    {
        int bit = 0;
        for (int right = Size - 1; right >= 1; right -= 2)
        {
            if (right == 6)
                right = 5;
            bool isUpward = ((right + 1) & 2) == 0;
            for (int step = 0; step < Size * 2; step++)
            {
                int x = right - (step & 1);
                int y = isUpward ? Size - 1 - (step / 2) : step / 2;
                if (isFixed[y, x] || bit >= codewords.Length * 8)
                    continue;
                isDark[y, x] = ((codewords[bit >> 3] >> (7 - (bit & 7))) & 1) != 0;
                bit++;
            }
        }
    }

    private int BestMask()
    {
        int best = 0;
        int least = int.MaxValue;
        for (int mask = 0; mask < 8; mask++)
        {
            Mask(mask);
            int penalty = QrPenalty.Of(this);
            if (penalty < least)
                (best, least) = (mask, penalty);
            // Twice is as it was.
            Mask(mask);
        }

        return best;
    }

    private void Mask(int mask)
    {
        DrawFormat(mask);
        for (int y = 0; y < Size; y++)
        {
            for (int x = 0; x < Size; x++)
                isDark[y, x] ^= !isFixed[y, x] && IsMasked(mask, x, y);
        }
    }

    private static bool IsMasked(int mask, int x, int y) => mask switch
    {
        0 => (x + y) % 2 == 0,
        1 => y % 2 == 0,
        2 => x % 3 == 0,
        3 => (x + y) % 3 == 0,
        4 => ((x / 3) + (y / 2)) % 2 == 0,
        5 => (x * y % 2) + (x * y % 3) == 0,
        6 => ((x * y % 2) + (x * y % 3)) % 2 == 0,
        _ => (((x + y) % 2) + (x * y % 3)) % 2 == 0,
    };

    private void Fix(int x, int y, bool dark)
    {
        isFixed[y, x] = true;
        isDark[y, x] = dark;
    }
}
