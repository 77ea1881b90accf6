using System.Globalization;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Cli;

/// <summary>Figures of the buffer as a person reads them.</summary>
internal static class BufferText
{
    private const long UnixMillisecondsMax = 253_402_300_799_999;

    public static string Size(double bytes) => bytes switch
    {
        < 1024 => Text($"{bytes:0} B"),
        < 1024 * 1024 => Text($"{bytes / 1024:0.0} KiB"),
        < 1024 * 1024 * 1024 => Text($"{bytes / (1024 * 1024):0.0} MiB"),
        _ => Text($"{bytes / (1024 * 1024 * 1024):0.00} GiB"),
    };

    public static string Time(Arrival arrival)
    {
        // Six bytes on disk hold more than the calendar has.
        if (arrival.UnixMilliseconds > UnixMillisecondsMax)
            return Text($"{arrival.UnixMilliseconds} ms");
        string time = DateTimeOffset.FromUnixTimeMilliseconds(arrival.UnixMilliseconds)
            .ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        return arrival.IsSynchronised ? time : time + "?";
    }

    public static string Text(FormattableString text) => FormattableString.Invariant(text);
}
