using System.Globalization;
using System.Text;

namespace IotTcpGateway.Escaping;

/// <summary>
/// Makes text that somebody else chose (a device, a broker, a client of it, a file) fit for a line of a log, a status
/// and a terminal: it cannot begin a line, move the cursor, turn the reading direction or grow without end.
/// </summary>
internal static class SafeText
{
    public const int CharactersMax = 200;

    /// <summary>Of a whole line that this program composed, with what others chose in it.</summary>
    public const int LineCharactersMax = 2000;

    /// <summary>
    /// What is no letter, mark, digit, sign or space as \uXXXX, cut at <paramref name="charactersMax"/>. The escape is not
    /// meant to be read back: a backslash stays as it is.
    /// </summary>
    public static string Clean(string? text, int charactersMax = CharactersMax)
    {
        if (string.IsNullOrEmpty(text))
            return "";
        if (text.Length <= charactersMax && IsClean(text))
            return text;
        var clean = new StringBuilder();
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (clean.Length >= charactersMax)
                return clean.Append('…').ToString();
            if (IsShown(rune))
                clean.Append(rune);
            else
                clean.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:X4}");
        }

        return clean.ToString();
    }

    private static bool IsClean(string text)
    {
        foreach (Rune rune in text.EnumerateRunes())
        {
            // Half a surrogate pair reads as this, and is not yet replaced.
            if (!IsShown(rune) || rune == Rune.ReplacementChar)
                return false;
        }

        return true;
    }

    /// <summary>Whether it can be shown as it is.</summary>
    // Format holds what turns the direction (U+202E) and what has no width; half a surrogate pair is U+FFFD here.
    public static bool IsShown(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control
        or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);
}
