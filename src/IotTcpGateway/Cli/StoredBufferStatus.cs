using System.Text.Json;
using System.Text.Json.Serialization;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Cli;

/// <summary>What "iotgw buffer status" says.</summary>
/// <param name="Directory">The buffer's directory.</param>
/// <param name="IsInUse">Whether a gateway runs on it; null when that cannot be told.</param>
/// <param name="DiskBytes">Bytes of the lanes' segments.</param>
/// <param name="DiskBytesMax">Bytes that they may have, by the configuration.</param>
/// <param name="FreeBytes">Bytes that the file system has left.</param>
/// <param name="BytesPerSecond">How fast frames came in the last hour on disk; null when too few are there to tell.</param>
/// <param name="SecondsUntilFull">At the present rate; null when it does not fill, or that cannot be told.</param>
/// <param name="IsGatewaysWord">Whether the running gateway said so; otherwise it is by the frames on disk.</param>
/// <param name="Journals">What was ever used.</param>
internal sealed record StoredBufferStatus(
    string Directory,
    bool? IsInUse,
    long DiskBytes,
    long DiskBytesMax,
    long FreeBytes,
    double? BytesPerSecond,
    double? SecondsUntilFull,
    bool IsGatewaysWord,
    IReadOnlyList<StoredJournalStatus> Journals)
{
    /// <summary>The same, with what a gateway's status says; unchanged if that does not say it.</summary>
    /// <exception cref="JsonException">It is no JSON.</exception>
    public StoredBufferStatus With(string gatewayStatus)
    {
        using var answer = JsonDocument.Parse(gatewayStatus);
        if (Below(answer.RootElement, "buffer") is not { } buffer
            || Below(buffer, "disk") is not { } disk
            || Below(disk, "secondsUntilFull") is not { } seconds)
        {
            return this;
        }

        return seconds.ValueKind switch
        {
            JsonValueKind.Number => this with { SecondsUntilFull = seconds.GetDouble(), IsGatewaysWord = true },
            JsonValueKind.Null => this with { SecondsUntilFull = null, IsGatewaysWord = true },
            _ => this,
        };
    }

    /// <summary>Prints it as a table.</summary>
    public void Print(TextWriter output)
    {
        output.WriteLine($"{"directory",-12} {Directory}");
        output.WriteLine($"{"gateway",-12} {Gateway()}");
        foreach (StoredJournalStatus journal in Journals)
            journal.Print(output);
        output.WriteLine($"{"disk",-12} {BufferText.Size(DiskBytes)} of {BufferText.Size(DiskBytesMax)}, the file system has {BufferText.Size(FreeBytes)} left");
        output.WriteLine($"{"full in",-12} {FullIn()}");
    }

    private string Gateway() => IsInUse switch
    {
        true => "runs on it",
        false => "none runs on it",
        null => "whether one runs cannot be told: the lock cannot be opened",
    };

    private string FullIn()
    {
        string source = IsGatewaysWord ? "the running gateway says" : "by the arrivals of the last hour on disk";
        if (SecondsUntilFull is not { } seconds)
            return IsGatewaysWord ? "it does not fill at present" : "unknown: too few frames on disk to tell how fast they come";
        string rate = BytesPerSecond is { } bytes && !IsGatewaysWord ? $" at {BufferText.Size(bytes)}/s" : "";
        return BufferText.Text($"{seconds / 3600:0.0} hours{rate} ({source})");
    }

    private static JsonElement? Below(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out JsonElement child) ? child : null;
}

/// <summary>A journal of it.</summary>
/// <param name="Name">The folder.</param>
/// <param name="Lane">Its priority; 0 when it is no lane.</param>
/// <param name="Waiting">Frames that are not settled, or, in the ledger, drops that the broker was not told.</param>
/// <param name="Bytes">Bytes of these frames on disk.</param>
/// <param name="DiskBytes">Bytes of its segments.</param>
/// <param name="Oldest">Arrival of the oldest of these frames.</param>
/// <param name="Newest">Arrival of the newest.</param>
/// <param name="Findings">What is damaged; empty when it is whole.</param>
internal sealed record StoredJournalStatus(
    string Name,
    int Lane,
    long Waiting,
    long Bytes,
    long DiskBytes,
    StoredArrival? Oldest,
    StoredArrival? Newest,
    IReadOnlyList<string> Findings)
{
    public void Print(TextWriter output)
    {
        string what = Name == BufferDisk.LedgerName
            ? BufferText.Text($"{Waiting} reports waiting")
            : BufferText.Text($"{Waiting} frames {(Lane > 0 ? "waiting" : "kept")}, {BufferText.Size(Bytes)}");
        string when = Oldest is { } oldest && Newest is { } newest ? $", {oldest.Text} to {newest.Text}" : "";
        output.WriteLine($"{Name,-12} {what}{when}, {BufferText.Size(DiskBytes)} on disk, {(Findings.Count == 0 ? "clean" : "DAMAGED")}");
        foreach (string finding in Findings)
            output.WriteLine($"{"",-12}   {finding}");
    }
}

/// <summary>When a frame came.</summary>
/// <param name="UnixMilliseconds">By the gateway's clock.</param>
/// <param name="IsSynchronised">Whether that was set.</param>
internal sealed record StoredArrival(long UnixMilliseconds, bool IsSynchronised)
{
    [JsonIgnore]
    public string Text => BufferText.Time(new Arrival(UnixMilliseconds, 0, IsSynchronised));

    public static StoredArrival? Of(Arrival? arrival) =>
        arrival is { } known ? new StoredArrival(known.UnixMilliseconds, known.IsSynchronised) : null;
}

/// <summary>Writes it without reflection.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(StoredBufferStatus))]
internal sealed partial class StoredBufferJson : JsonSerializerContext;
