using System.Text;

namespace IotTcpGateway.Forward;

/// <summary>Makes text that a broker or its clients chose fit for a line of a log.</summary>
internal static class BrokerText
{
    public const int CharactersMax = 200;

    /// <summary>Control characters and line separators as \uXXXX, cut at <see cref="CharactersMax"/>.</summary>
    public static string Clean(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return "";
        var clean = new StringBuilder();
        foreach (char c in text)
        {
            if (clean.Length >= CharactersMax)
                return clean.Append('…').ToString();
            if (char.IsControl(c) || c is '\u2028' or '\u2029' || char.IsSurrogate(c))
                clean.Append($"\\u{(int)c:X4}");
            else
                clean.Append(c);
        }

        return clean.ToString();
    }
}
