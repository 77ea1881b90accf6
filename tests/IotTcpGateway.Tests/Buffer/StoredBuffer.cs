using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>A buffer's directory as a gateway leaves it, written by the test; gone after it.</summary>
internal sealed class StoredBuffer : IDisposable
{
    public const long BaseTime = 1_763_900_000_000_000;
    public const long Arrived = 1_763_900_000_123;

    private readonly byte[] entry = new byte[8192];

    public string Path { get; } = Directory.CreateTempSubdirectory("buffer-").FullName;

    public string PathOf(string name) => System.IO.Path.Combine(Path, name);

    public BufferJournal Journal(string name) => new BufferDirectory(Path).Journals().Single(j => j.Name == name);

    public void Dispose() => Directory.Delete(Path, recursive: true);

    /// <summary>Opens a journal to write to, with small segments.</summary>
    public RecordJournal Open(string name, int segmentBytes = 8192)
    {
        Directory.CreateDirectory(PathOf(name));
        DiskError error = RecordJournal.Open(
            new PosixDisk(PathOf(name)),
            new JournalOptions
            {
                SegmentBytes = segmentBytes,
                PreallocateBytes = 512,
                PayloadBytesMax = 4096,
                CommitBytesMax = 8192,
                BytesMax = 1 << 24,
            },
            out RecordJournal? journal,
            out _);
        return error.IsNone ? journal! : throw new IOException(error.ToString());
    }

    /// <summary>Frames 1 to a count of pump-7 with a table in front, each in a commit; some of them settled.</summary>
    public void Fill(string name, int frames, int settled = 0, string reason = "")
    {
        using RecordJournal journal = Open(name);
        Table(journal, 1, new Channel(1, DataType.F32, "temperature", "Cel"));
        for (uint sequence = 1; sequence <= frames; sequence++)
            Frame(journal, "pump-7", sequence, reason: reason);
        for (long id = 1; id <= settled + 1 && settled > 0; id++)
            journal.Confirm(id);
        journal.CommitCursor();
    }

    public void Table(RecordJournal journal, uint number, params Channel[] channels)
    {
        for (int first = 0; first < channels.Length;)
            Append(journal, SpilledTable.Write(entry, number, channels, ref first));
    }

    public void Frame(
        RecordJournal journal,
        string device,
        uint sequence,
        uint table = 1,
        byte[]? body = null,
        Arrival? arrival = null,
        string reason = "")
    {
        Append(journal, FrameOf(device, sequence, table, body ?? Body(sequence), arrival, reason).Write(entry));
    }

    /// <summary>So many frames, in as few commits as may be.</summary>
    public void Frames(RecordJournal journal, string device, int count)
    {
        byte[] body = Body(1);
        for (uint sequence = 1; sequence <= count; sequence++)
        {
            ReadOnlySpan<byte> bytes = entry.AsSpan(0, FrameOf(device, sequence, 1, body, null, "").Write(entry));
            while (journal.TryAppend(bytes, out _) != AppendResult.Appended)
                journal.Commit();
        }

        journal.Commit();
    }

    public static byte[] Body(float value, long baseTime = BaseTime)
    {
        var bytes = new byte[64];
        var writer = new DataWriter(bytes, baseTime);
        writer.AddRaw(1, DataType.F32, 0, BitConverter.GetBytes(value));
        return bytes[..writer.Written];
    }

    /// <summary>Everything that a look must not change: names, contents, times, owners' rights.</summary>
    public string Print()
    {
        var all = new StringBuilder();
        foreach (string path in Directory.EnumerateFileSystemEntries(Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            string hash = File.Exists(path) ? Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))) : "folder";
            all.AppendLine($"{path} {hash} {File.GetLastWriteTimeUtc(path).Ticks} {File.GetUnixFileMode(path)}");
        }

        return all.ToString();
    }

    private static SpilledFrame FrameOf(
        string device, uint sequence, uint table, byte[] body, Arrival? arrival, string reason) => new()
        {
            DeviceId = Encoding.UTF8.GetBytes(device),
            BootId = 287454020,
            Sequence = sequence,
            Table = table,
            Arrival = arrival ?? new Arrival(Arrived + (sequence * 1000), 0, IsSynchronised: true),
            Reason = Encoding.UTF8.GetBytes(reason),
            Body = body,
        };

    private void Append(RecordJournal journal, int bytes)
    {
        if (journal.TryAppend(entry.AsSpan(0, bytes), out _) != AppendResult.Appended)
            throw new InvalidOperationException("the test's journal takes nothing");
        journal.Commit();
    }
}
