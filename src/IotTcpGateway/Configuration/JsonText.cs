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
            if (FaultIn(content) is var (offset, problem, remedy))
            {
                faults.Add(new ConfigurationFault($"{file}:{Place(content[..offset])}", problem, remedy));
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

    /// <summary>The parsed text of a variable or of the command line; null if it is no sound JSON.</summary>
    public static JsonNode? Parse(string text)
    {
        List<ConfigurationFault> faults = [];
        return Parse("", Encoding.UTF8.GetBytes(text), faults);
    }

    // What the library would throw about later, when a value is asked for: keys that are there twice, and text that is
    // none.
    private static (int Offset, string Problem, string Remedy)? FaultIn(ReadOnlySpan<byte> content)
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
            if (reader.TokenType is not (JsonTokenType.PropertyName or JsonTokenType.String))
                continue;
            int offset = (int)reader.TokenStartIndex;
            if (!TryText(reader, out string text))
                return (offset, "this text is not Unicode", "write it in UTF-8");
            if (reader.TokenType == JsonTokenType.PropertyName && !open.Peek().Add(text))
                return (offset, $"the key \"{text}\" is there twice", "leave one of them out");
        }

        return null;
    }

    private static bool TryText(in Utf8JsonReader reader, out string text)
    {
        try
        {
            text = reader.GetString() ?? "";
            return true;
        }
        catch (InvalidOperationException)
        {
            // Bytes that are not UTF-8, or half of a surrogate pair.
            text = "";
            return false;
        }
    }

    private static string Place(ReadOnlySpan<byte> before) =>
        $"{before.Count((byte)'\n') + 1}:{before.Length - before.LastIndexOf((byte)'\n')}";
}
