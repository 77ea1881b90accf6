using System.Text.Json;

using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Keys;

namespace IotTcpGateway.Fuzz.Keys;

/// <summary>
/// A device key file with any content: it is read or refused with a reason; what is read is the same after the file was
/// written anew, with one device more.
/// </summary>
internal static class KeyFileTarget
{
    private const string AddedId = "added-by-the-fuzzer";

    private static readonly string Path = ScratchFiles.New("devices.json");
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public static void Run(ReadOnlySpan<byte> input)
    {
        ScratchFiles.Write(Path, input);
        var file = new KeyFile(Path);
        SortedDictionary<string, string> read;
        try
        {
            read = Read(file);
        }
        catch (KeyFileException e)
        {
            Require.That(e.Message.Length > 0, "a refusal without a reason");
            return;
        }

        Require.That(!read.ContainsKey(""), "a device without an id");
        if (read.ContainsKey(AddedId))
            return;
        file.Add(AddedId, Now);
        SortedDictionary<string, string> again = Read(file);
        Require.That(again.Remove(AddedId), "the device added is not there");
        Require.That(read.SequenceEqual(again), "a device differs after the file was written anew");
    }

    // Whatever a device has in it takes part in the comparison.
    private static SortedDictionary<string, string> Read(KeyFile file)
    {
        var devices = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var device in file.Read())
            devices.Add(device.Id, JsonSerializer.Serialize(device));
        return devices;
    }
}
