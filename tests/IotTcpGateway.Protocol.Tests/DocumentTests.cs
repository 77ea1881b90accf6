using System.Globalization;
using System.Text.RegularExpressions;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

/// <summary>The documentation for device makers says the same as the code, number by number and byte by byte.</summary>
public partial class DocumentTests
{
    private static readonly string[] Lines =
        File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "protocol.md"));

    [Fact]
    public void FrameTypes_InTheDocument_AreTheEnum() =>
        AssertSame<FrameType>("## Frame types", NumberStyles.HexNumber, word => word);

    [Fact]
    public void ValueTypes_InTheDocument_AreTheEnum()
    {
        AssertSame<DataType>("## Data", NumberStyles.HexNumber, word => word);
        foreach ((byte number, string[] cells) in Rows("## Data", NumberStyles.HexNumber))
        {
            var type = (DataType)number;
            Assert.Equal(DataTypes.Word(type), cells[1]);
            string bytes = type switch
            {
                DataType.Text => "u8",
                DataType.Bytes => "u16",
                _ => $"{DataTypes.FixedBytes(type)}",
            };
            Assert.Equal(bytes, FirstWord().Match(cells[2]).Value);
        }
    }

    [Fact]
    public void AuthenticationModes_InTheDocument_AreTheEnum() =>
        AssertSame<AuthenticationMode>("### Authentication modes", NumberStyles.None, Pascal);

    [Fact]
    public void RefuseReasons_InTheDocument_AreTheEnum() =>
        AssertSame<RefuseReason>("### REFUSE reasons", NumberStyles.None, Pascal);

    [Fact]
    public void NackReasons_InTheDocument_AreTheEnum() =>
        AssertSame<NackReason>("### NACK reasons", NumberStyles.None, Pascal);

    [Fact]
    public void ByeReasons_InTheDocument_AreTheEnum() =>
        AssertSame<ByeReason>("### BYE reasons", NumberStyles.None, Pascal);

    [Fact]
    public void ExampleFrames_InTheDocument_AreTheVectors()
    {
        string name = "";
        var hex = new Dictionary<string, string>();
        foreach (string line in Section("## Example"))
        {
            if (VectorName().Match(line) is { Success: true } found)
                name = found.Groups[1].Value;
            if (line.StartsWith("    ", StringComparison.Ordinal))
                hex[name] = hex.GetValueOrDefault(name, "") + HexBytes().Match(line).Value.Replace(" ", "");
        }

        string[] expected =
        [
            "hello-hmac", "challenge", "auth", "welcome", "data-tagged", "data-one", "ack-tagged", "describe",
        ];
        Assert.Equal(expected, hex.Keys);
        foreach (string vector in expected)
            Assert.Equal(Vectors.Find(vector).GetProperty("hex").GetString(), hex[vector]);
    }

    [Fact]
    public void Limits_InTheDocument_AreTheConstants()
    {
        string text = string.Join(' ', Lines);
        Assert.Contains($"{ProtocolConstants.ControlBodyBytesMax} bytes from a device before WELCOME", text);
        int frameBytesMax = ProtocolConstants.FrameBytes(ProtocolConstants.ControlBodyBytesMax, tagged: true);
        Assert.Contains($"more than {frameBytesMax} bytes", text);
        Assert.Contains($"at most {Command.NameAndPayloadBytesMax} bytes", text);
        Assert.Contains($"{ProtocolConstants.DefaultPort} (plain TCP)", text);
        Assert.Contains($"{ProtocolConstants.DefaultTlsPort} (TLS)", text);
    }

    private static void AssertSame<T>(string heading, NumberStyles style, Func<string, string> nameOf)
        where T : struct, Enum
    {
        string[] documented = [.. Rows(heading, style).Select(row => $"{row.Number} {nameOf(row.Cells[1])}")];
        string[] coded = [.. Enum.GetValues<T>().Select(v => $"{Convert.ToByte(v, CultureInfo.InvariantCulture)} {v}")];
        Assert.Equal(coded, documented, StringComparer.OrdinalIgnoreCase);
    }

    // The rows of the first table with numbers in front below the heading.
    private static List<(byte Number, string[] Cells)> Rows(string heading, NumberStyles style)
    {
        var rows = new List<(byte, string[])>();
        foreach (string line in Section(heading).Where(l => l.StartsWith('|')))
        {
            string[] cells = [.. line.Trim('|').Split('|').Select(c => c.Trim())];
            if (byte.TryParse(cells[0], style, CultureInfo.InvariantCulture, out byte number))
                rows.Add((number, cells));
        }

        return rows;
    }

    private static IEnumerable<string> Section(string heading)
    {
        Assert.Contains(heading, Lines);
        return Lines.SkipWhile(l => l != heading).Skip(1).TakeWhile(l => !l.StartsWith('#'));
    }

    private static string Pascal(string words) => string.Concat(words.Split(' '));

    [GeneratedRegex(@"^\w+")]
    private static partial Regex FirstWord();

    [GeneratedRegex(@"\(`([a-z-]+)`\)")]
    private static partial Regex VectorName();

    [GeneratedRegex(@"([0-9a-f]{2} ?)+")]
    private static partial Regex HexBytes();
}
