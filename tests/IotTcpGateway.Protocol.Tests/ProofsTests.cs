using System.Security.Cryptography;
using System.Text;

using CsCheck;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class ProofsTests
{
    [Fact]
    public void Proofs_OfAnyLengths_AreTheHmacOfThePartsJoined() =>
        Gen.Select(Gen.Byte.Array[32], Gen.Byte.Array[0, 512], Gen.Byte.Array[16], Gen.Byte.Array[19]).Sample(
            (key, hello, nonce, welcome) =>
            {
                var proof = new byte[ProtocolConstants.ProofBytes];
                Proofs.Device(key, hello, nonce, proof);
                Assert.Equal(Hmac(key, "ITGP1 device", hello, nonce), proof);
                Proofs.Gateway(key, hello, nonce, welcome, proof);
                Assert.Equal(Hmac(key, "ITGP1 gateway", hello, nonce, welcome), proof);
                Proofs.SessionKey(key, hello, nonce, proof);
                Assert.Equal(Hmac(key, "ITGP1 session", hello, nonce), proof);
            });

    [Fact]
    public void Device_OfTheLongestHello_AllocatesNothing()
    {
        var hello = new byte[156];
        var proof = new byte[ProtocolConstants.ProofBytes];
        Proofs.Device(proof, hello, new byte[16], proof);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Proofs.Gateway(proof, hello, hello.AsSpan(0, 16), hello.AsSpan(0, 19), proof);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Crc32C_AppendedInAnyPieces_IsTheBitwiseDefinition() =>
        Gen.Byte.Array[0, 80].Sample(bytes =>
        {
            uint expected = Bitwise(bytes);
            for (int cut = 0; cut <= bytes.Length; cut++)
            {
                uint state = Crc32C.Append(Crc32C.Append(Crc32C.Initial, bytes.AsSpan(0, cut)), bytes.AsSpan(cut));
                Assert.Equal(expected, Crc32C.Finish(state));
            }
        });

    private static byte[] Hmac(byte[] key, string label, params byte[][] parts) =>
        HMACSHA256.HashData(key, Encoding.ASCII.GetBytes(label).Concat(parts.SelectMany(p => p)).ToArray());

    private static uint Bitwise(byte[] bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in bytes)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F6_3B78 : 0);
        }

        return ~crc;
    }
}
