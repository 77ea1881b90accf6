using System.Globalization;

namespace IotTcpGateway.Journal;

/// <summary>The name of a segment's file, which repeats what a damaged header would lose: number and nonce.</summary>
internal readonly record struct SegmentName(ulong Number, ulong Nonce) : IComparable<SegmentName>
{
    public const string Suffix = ".seg";

    private const int Digits = 16;

    public static bool TryParse(string file, out SegmentName name)
    {
        name = default;
        if (file.Length != Digits + 1 + Digits + Suffix.Length
            || file[Digits] != '-'
            || !file.EndsWith(Suffix, StringComparison.Ordinal)
            || !TryParseHex(file.AsSpan(0, Digits), out ulong number)
            || number > long.MaxValue // No journal comes so far, and the next number must be higher.
            || !TryParseHex(file.AsSpan(Digits + 1, Digits), out ulong nonce))
        {
            return false;
        }

        name = new SegmentName(number, nonce);
        return name.ToString() == file;
    }

    public int CompareTo(SegmentName other) =>
        Number == other.Number ? Nonce.CompareTo(other.Nonce) : Number.CompareTo(other.Number);

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Number:x16}-{Nonce:x16}{Suffix}");

    private static bool TryParseHex(ReadOnlySpan<char> digits, out ulong value) =>
        ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}
