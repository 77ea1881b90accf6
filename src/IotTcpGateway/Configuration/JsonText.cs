using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>JSON with comments and trailing commas, as people write it; faults are told with line and column.</summary>
internal static class JsonText
{
    private static readonly JsonDocumentOptions Options =
        new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    /// <summary>The parsed text; null, and the fault added, if it is not JSON or names a key twice.</summary>
    public static JsonNode? Parse(string file, byte[] text, List<ConfigurationFault> faults)
    {
        ReadOnlySpan<byte> content = text.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? text.AsSpan(3) : text;
        try
        {
            if (DuplicateKey(content) is var (offset, key))
            {
                faults.Add(new ConfigurationFault(
                    $"{file}:{Place(content[..offset])}",
                    $"the key \"{key}\" is there twice",
                    "leave one of them out"));
                return null;
            }

            return JsonNode.Parse(content, documentOptions: Options);
        }
        catch (JsonException e)
        {
            // What follows in the library's message is the place again.
            string what = content.Trim(" \t\r\n"u8).IsEmpty
                ? "the file is empty"
                : e.Message.Split(" Path:")[0].Split(" LineNumber:")[0].TrimEnd('.');
            faults.Add(new ConfigurationFault(
                $"{file}:{e.LineNumber + 1}:{e.BytePositionInLine + 1}",
                "it is not JSON: " + what,
                "mend it there, or start from {}"));
            return null;
        }
    }

    private static (int Offset, string Key)? DuplicateKey(ReadOnlySpan<byte> content)
    {
        var open = new Stack<HashSet<string>>();
        var reader = new Utf8JsonReader(
            content, new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                open.Push([]);
            else if (reader.TokenType == JsonTokenType.EndObject)
                open.Pop();
            else if (reader.TokenType == JsonTokenType.PropertyName
                && reader.GetString() is { } key && !open.Peek().Add(key))
                return ((int)reader.TokenStartIndex, key);
        }

        return null;
    }

    private static string Place(ReadOnlySpan<byte> before) =>
        $"{before.Count((byte)'\n') + 1}:{before.Length - before.LastIndexOf((byte)'\n')}";
}
