namespace IotTcpGateway.Journal;

/// <summary>Tells the files that a journal makes from others, by their names.</summary>
public static class JournalFiles
{
    /// <summary>
    /// Whether a journal made a file of this name: segments, their copies and what was set aside of them, cursor and
    /// reserve. What somebody else put there is not, even when a journal gave it another name.
    /// </summary>
    public static bool IsOurs(string name)
    {
        string stem = Without(DirectoryNames.TemporarySuffix, name);
        if (stem is DirectoryNames.Cursor or DirectoryNames.Reserve)
            return true;
        stem = Without(DirectoryNames.AlienSuffix, Without(DirectoryNames.BrokenSuffix, stem));
        return SegmentName.TryParse(stem, out _)
            || (stem.LastIndexOf('.') is > 0 and int dot
                && IsOffset(stem[(dot + 1)..]) && SegmentName.TryParse(stem[..dot], out _));
    }

    // A copy of a part carries the place where it began.
    private static bool IsOffset(string text) => text.Length >= 8 && text.All(char.IsAsciiHexDigitLower);

    private static string Without(string suffix, string name) =>
        name.EndsWith(suffix, StringComparison.Ordinal) ? name[..^suffix.Length] : name;
}
