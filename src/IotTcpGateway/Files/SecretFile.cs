using System.Security.Cryptography;

namespace IotTcpGateway.Files;

/// <summary>What came of reading a secret again.</summary>
internal enum SecretReading
{
    Unchanged,
    Taken,
    Unusable,
}

/// <summary>
/// A file with one secret, a token or a password, of which only a digest is kept. The end of its last line does not
/// count. Safe for several threads, if one at a time reads.
/// </summary>
internal sealed class SecretFile(string path)
{
    public const int BytesMax = 4096;

    // Never null: without a usable file what is presented is compared all the same, with what nobody has.
    private byte[] digest = RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes);

    /// <summary>The file.</summary>
    public string Path => path;

    /// <summary>Why nobody can have this secret; empty if somebody can.</summary>
    public string Problem { get; private set; } = "it was not read yet";

    /// <summary>Reads it again: its content is what is compared, so it does not matter how it was replaced.</summary>
    public SecretReading Read()
    {
        string before = Problem;
        byte[]? found = Look(out string problem);
        if (found is null)
        {
            Volatile.Write(ref digest, RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes));
            Problem = problem;
            return problem == before ? SecretReading.Unchanged : SecretReading.Unusable;
        }

        if (before.Length == 0 && CryptographicOperations.FixedTimeEquals(found, digest))
            return SecretReading.Unchanged;
        Volatile.Write(ref digest, found);
        Problem = "";
        return SecretReading.Taken;
    }

    /// <summary>Whether this is the secret. How long that takes says nothing of the secret, nor of its length.</summary>
    public bool Is(ReadOnlySpan<byte> presented)
    {
        Span<byte> other = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(presented, other);
        return CryptographicOperations.FixedTimeEquals(other, Volatile.Read(ref digest));
    }

    private byte[]? Look(out string problem)
    {
        byte[] content = new byte[BytesMax + 1];
        try
        {
            using FileStream file = File.OpenRead(path);
            Span<byte> secret = content.AsSpan(0, file.ReadAtLeast(content, content.Length, throwOnEndOfStream: false));
            bool isTooLong = secret.Length > BytesMax;
            secret = secret.TrimEnd("\r\n"u8);
            problem = isTooLong ? $"it has more than {BytesMax} bytes" : secret.IsEmpty ? "it is empty" : "";
            return problem.Length == 0 ? SHA256.HashData(secret) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            problem = e is FileNotFoundException or DirectoryNotFoundException
                ? "it is missing"
                : $"it cannot be read: {e.Message}";
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(content);
        }
    }
}
