using System.Diagnostics;

namespace IotTcpGateway.Fuzz.Protocol;

/// <summary>States what must hold whatever the input is.</summary>
internal static class Require
{
    public static void That(bool holds, string invariant)
    {
        if (!holds)
            throw new UnreachableException(invariant);
    }

    public static void SameBytes(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> got, string what)
    {
        if (!expected.SequenceEqual(got))
        {
            throw new UnreachableException(
                $"{what} differs when written back: {Convert.ToHexString(expected)} became {Convert.ToHexString(got)}");
        }
    }
}
