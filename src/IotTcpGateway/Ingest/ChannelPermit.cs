using System.Globalization;

using IotTcpGateway.Buffer;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>
/// Which channels a session may write: patterns of names, looked up once for each channel of a table. Used by the
/// session's read loop alone.
/// </summary>
internal sealed class ChannelPermit(IReadOnlyList<string> patterns)
{
    // A device may number 65 536 channels; so many are remembered, the others looked up again.
    private const int DecidedMax = 512;

    private readonly Dictionary<ushort, bool> decided = [];
    private ChannelTable decidedFor = ChannelTable.Empty;

    public IReadOnlyList<string> Patterns => patterns;

    /// <summary>The name of the first channel in a right DATA body that may not be written; null if all may.</summary>
    public string? FirstRefused(ReadOnlySpan<byte> body, ChannelTable channels)
    {
        if (!ReferenceEquals(decidedFor, channels))
        {
            decided.Clear();
            decidedFor = channels;
        }

        var reader = new DataReader(body);
        while (reader.TryRead(out DataRecord record))
        {
            if (!IsAllowed(record.Channel))
                return NameOf(record.Channel);
        }

        return null;
    }

    private bool IsAllowed(ushort channel)
    {
        if (decided.TryGetValue(channel, out bool isAllowed))
            return isAllowed;
        isAllowed = NamePattern.MatchesAny(patterns, NameOf(channel));
        if (decided.Count < DecidedMax)
            decided.Add(channel, isAllowed);
        return isAllowed;
    }

    private string NameOf(ushort channel) =>
        decidedFor.Find(channel)?.Name ?? "ch" + channel.ToString(CultureInfo.InvariantCulture);
}
