using System.Text.Json;

namespace IotTcpGateway.Protocol.Tests;

/// <summary>The byte-exact examples of the wire format.</summary>
internal static class Vectors
{
    private static readonly JsonElement Root =
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "vectors.json"))).RootElement;

    public static IEnumerable<JsonElement> Valid => Root.GetProperty("valid").EnumerateArray();

    public static IEnumerable<JsonElement> Invalid => Root.GetProperty("invalid").EnumerateArray();

    public static JsonElement Find(string name) =>
        Valid.Concat(Invalid).Single(v => v.GetProperty("name").GetString() == name);

    public static byte[] Hex(this JsonElement vector, string property) =>
        Convert.FromHexString(vector.GetProperty(property).GetString()!);

    public static string Name(this JsonElement vector) => vector.GetProperty("name").GetString()!;
}
