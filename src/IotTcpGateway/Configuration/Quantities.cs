using System.Globalization;

namespace IotTcpGateway.Configuration;

/// <summary>Durations ("250ms", "5s", "10m", "7d") and sizes ("512 KiB", "8 MiB") as people write them.</summary>
internal static class Quantities
{
    private static readonly (string Unit, double Milliseconds)[] DurationUnits =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    private static readonly (string Unit, long Bytes)[] SizeUnits =
        [("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("B", 1)];

    public static bool TryParseDuration(string text, out TimeSpan duration)
    {
        duration = default;
        foreach ((string unit, double milliseconds) in DurationUnits)
        {
            if (!TryNumberBefore(text, unit, out double number) || number * milliseconds > TimeSpan.FromDays(36_500).TotalMilliseconds)
                continue;
            duration = TimeSpan.FromMilliseconds(number * milliseconds);
            return true;
        }

        return false;
    }

    public static bool TryParseSize(string text, out long bytes)
    {
        bytes = 0;
        if (text.Trim() == "0")
            return true;
        foreach ((string unit, long factor) in SizeUnits)
        {
            if (!TryNumberBefore(text, unit, out double number) || number * factor > 1L << 50)
                continue;
            bytes = (long)(number * factor);
            return true;
        }

        return false;
    }

    public static string Format(TimeSpan duration)
    {
        for (int i = DurationUnits.Length - 1; i > 0; i--)
        {
            if (duration != TimeSpan.Zero && duration.TotalMilliseconds % DurationUnits[i].Milliseconds == 0)
                return Number(duration.TotalMilliseconds / DurationUnits[i].Milliseconds) + DurationUnits[i].Unit;
        }

        return Number(duration.TotalMilliseconds) + "ms";
    }

    public static string FormatSize(long bytes)
    {
        foreach ((string unit, long factor) in SizeUnits.Where(u => u.Bytes > 1).OrderByDescending(u => u.Bytes))
        {
            if (bytes != 0 && bytes % factor == 0)
                return $"{Number(bytes / factor)} {unit}";
        }

        return $"{Number(bytes)} B";
    }

    private static string Number(double number) => number.ToString(CultureInfo.InvariantCulture);

    private static bool TryNumberBefore(string text, string unit, out double number)
    {
        number = 0;
        // "5m" must not match "ms", nor "5ms" the unit "s": what stands before the unit is a number or nothing fits.
        return text.EndsWith(unit, StringComparison.Ordinal)
            && double.TryParse(
                text.AsSpan(0, text.Length - unit.Length).TrimEnd(),
                NumberStyles.AllowDecimalPoint,
                CultureInfo.InvariantCulture,
                out number);
    }
}
