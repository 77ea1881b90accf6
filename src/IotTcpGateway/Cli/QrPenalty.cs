namespace IotTcpGateway.Cli;

/// <summary>How hard a QR code would be to read: runs, blocks, what looks like a finder, too much of one colour.</summary>
internal static class QrPenalty
{
    private const int LookWindow = 0b111_1111_1111;
    private const int FinderBefore = 0b101_1101_0000;
    private const int FinderBehind = 0b000_0101_1101;

    public static int Of(QrCode code)
    {
        int penalty = 0;
        int dark = 0;
        for (int i = 0; i < code.Size; i++)
        {
            penalty += Line(code.Size, j => code[j, i]) + Line(code.Size, j => code[i, j]);
            for (int j = 0; j < code.Size; j++)
                dark += code[i, j] ? 1 : 0;
        }

        int all = code.Size * code.Size;
        return penalty + Blocks(code) + (Math.Abs((dark * 20) - (all * 10)) / all * 10);
    }

    private static int Line(int size, Func<int, bool> isDark)
    {
        int penalty = 0;
        int run = 0;
        int seen = 0;
        for (int i = 0; i < size; i++)
        {
            run = i > 0 && isDark(i) == isDark(i - 1) ? run + 1 : 1;
            penalty += run == 5 ? 3 : run > 5 ? 1 : 0;
            seen = ((seen << 1) | (isDark(i) ? 1 : 0)) & LookWindow;
            penalty += i >= 10 && seen is FinderBefore or FinderBehind ? 40 : 0;
        }

        return penalty;
    }

    private static int Blocks(QrCode code)
    {
        int blocks = 0;
        for (int y = 1; y < code.Size; y++)
        {
            for (int x = 1; x < code.Size; x++)
            {
                bool isDark = code[x, y];
                if (code[x - 1, y] == isDark && code[x, y - 1] == isDark && code[x - 1, y - 1] == isDark)
                    blocks++;
            }
        }

        return blocks * 3;
    }
}
