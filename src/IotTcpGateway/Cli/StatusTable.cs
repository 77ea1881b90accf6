using System.Globalization;

using IotTcpGateway.Health;

namespace IotTcpGateway.Cli;

/// <summary>The status in words, for the terminal.</summary>
internal static class StatusTable
{
    private const int GapsShown = 5;

    public static IEnumerable<(string Name, string Value)> Of(GatewayStatus status)
    {
        yield return ("gateway", $"{status.Gateway}, version {status.Version}, up {Duration(status.UptimeSeconds)}");
        yield return ("ready", status.IsReady ? "yes" : "NO");
        yield return ("listeners", string.Join(", ", status.Listeners.Select(l => $"{l.Name} {l.Endpoint}")));
        yield return ("devices", Text(
            $"{status.Devices.Online} online, {status.Devices.Connections} connections, {status.Devices.Keys} keys{(status.Devices.AreKeysReadable ? "" : " (KEY FILE DAMAGED: nobody gets in)")}"));
        yield return ("refused", Text($"{status.Devices.AuthenticationFailures} failed authentications"));
        yield return ("frames", Text(
            $"{status.Frames.Received} taken, {status.Frames.Duplicate} duplicate, {status.Frames.Rejected} rejected, {status.Frames.Gaps} gaps"));
        yield return ("safe latency", Latency(status.Frames.SafeLatency));
        yield return ("buffer", Text(
            $"{status.Buffer.Records} waiting, {status.Buffer.MemoryBytes / 1024} of {status.Buffer.MemoryBytesMax / 1024} KiB{(status.Buffer.IsFull ? " FULL" : "")}, {status.Buffer.Dropped} dropped"));
        yield return ("disk", Disk(status.Buffer.Disk));
        foreach (GapStatus gap in status.Buffer.Gaps.TakeLast(GapsShown))
            yield return ("given up", Text($"{gap.Device}, boot {gap.Boot}: {gap.Count} of {gap.From} to {gap.To}, {gap.Reason}"));
        yield return ("broker", Broker(status.Broker));
        yield return ("published", Text($"{status.Broker.Published} messages, {status.Broker.InFlight} in flight"));
        yield return ("clock", status.IsClockSynchronised ? "synchronised" : "NOT synchronised");
        yield return ("memory", Text($"{status.ResidentMebibytes} MiB resident"));
    }

    private static string Disk(BufferDiskStatus disk)
    {
        if (disk.State == "off")
            return "none: frames are kept in memory alone";
        string state = disk.State == "healthy" ? "healthy" : $"{disk.State.ToUpperInvariant()} ({disk.Error})";
        string fills = disk.SecondsUntilFull is { } seconds ? Text($", full in {seconds / 3600:0.0} h") : "";
        string wear = disk.DeviceBytesPerDay is { } bytes ? Text($", {bytes >> 20} MiB a day written") : "";
        return Text($"{state}, {disk.Records} frames, {disk.Bytes >> 20} of {disk.BytesMax >> 20} MiB{fills}{wear}");
    }

    private static string Broker(BrokerStatus broker)
    {
        if (broker.Address.Length == 0)
            return "none configured";
        string since = Text($"{broker.Reconnects} reconnects");
        return broker.IsConnected
            ? $"{broker.Address}, MQTT {broker.MqttVersion}, {since}"
            : $"AWAY {broker.Address}{(broker.LastFailure.Length > 0 ? ": " + broker.LastFailure : "")}, {since}";
    }

    public static string Latency(SafeLatency latency) => latency is { P50Milliseconds: { } p50, P99Milliseconds: { } p99 }
        ? Text($"{p50:0.0} ms median, {p99:0.0} ms p99 over the last minute")
        : "nothing became safe in the last minute";

    private static string Duration(double seconds)
    {
        var time = TimeSpan.FromSeconds(seconds);
        return time.TotalDays >= 1 ? Text($"{(int)time.TotalDays} d {time.Hours} h") : time.ToString(@"hh\:mm\:ss", CultureInfo.InvariantCulture);
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
