using System.Text;

namespace IotTcpGateway.Keys;

/// <summary>
/// A pattern of channel or command names, written as MQTT writes topic filters: <c>+</c> stands for one level, a last
/// <c>#</c> for all levels that follow, and for none.
/// </summary>
internal static class NamePattern
{
    /// <summary>Bytes of a pattern; names are no longer.</summary>
    public const int BytesMax = 64;

    /// <summary>Whether a text is a pattern.</summary>
    public static bool IsValid(string text)
    {
        if (text.Length == 0 || Encoding.UTF8.GetByteCount(text) > BytesMax)
            return false;
        string[] levels = text.Split('/');
        for (int i = 0; i < levels.Length; i++)
        {
            bool isWildcard = levels[i] == "+" || (levels[i] == "#" && i == levels.Length - 1);
            if (!isWildcard && (levels[i].Length == 0 || !levels[i].All(IsOfNames)))
                return false;
        }

        return true;
    }

    /// <summary>Whether one of the patterns is of this name.</summary>
    public static bool MatchesAny(IEnumerable<string> patterns, string name)
    {
        foreach (string pattern in patterns)
        {
            if (Matches(pattern, name))
                return true;
        }

        return false;
    }

    /// <summary>Whether a pattern is of this name.</summary>
    public static bool Matches(ReadOnlySpan<char> pattern, ReadOnlySpan<char> name)
    {
        while (true)
        {
            ReadOnlySpan<char> wanted = FirstLevel(pattern, out bool patternEnds);
            if (wanted is "#")
                return true;
            ReadOnlySpan<char> there = FirstLevel(name, out bool nameEnds);
            if (wanted is not "+" && !wanted.SequenceEqual(there))
                return false;
            if (nameEnds)
                return patternEnds || pattern[(wanted.Length + 1)..] is "#";
            if (patternEnds)
                return false;
            pattern = pattern[(wanted.Length + 1)..];
            name = name[(there.Length + 1)..];
        }
    }

    private static ReadOnlySpan<char> FirstLevel(ReadOnlySpan<char> text, out bool isLast)
    {
        int end = text.IndexOf('/');
        isLast = end < 0;
        return isLast ? text : text[..end];
    }

    private static bool IsOfNames(char c) => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-';
}
