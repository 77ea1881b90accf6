using System.Buffers.Binary;
using System.Security.Cryptography;

namespace IotTcpGateway.Protocol;

/// <summary>Which way a frame goes; part of what a tag signs.</summary>
public enum FrameDirection : byte
{
    /// <summary>From the device.</summary>
    FromDevice = 0,

    /// <summary>From the gateway.</summary>
    FromGateway = 1,
}

/// <summary>
/// Makes or checks the tags of one direction of one session. It counts the frames itself, so that a replayed, dropped
/// or reordered frame fails. Not safe for use from several threads at once.
/// </summary>
public sealed class FrameTagger : IDisposable
{
    private readonly IncrementalHash hash;
    private readonly FrameDirection direction;
    private ulong counter;

    /// <summary>Starts at the first frame after WELCOME.</summary>
    /// <param name="sessionKey">32 bytes of <see cref="Proofs.SessionKey"/>.</param>
    /// <param name="direction">The direction whose frames it sees.</param>
    /// <param name="counter">Frames of that direction since WELCOME.</param>
    public FrameTagger(ReadOnlySpan<byte> sessionKey, FrameDirection direction, ulong counter = 0)
    {
        hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, sessionKey);
        this.direction = direction;
        this.counter = counter;
    }

    /// <summary>Begins the next frame, whose header and body follow by <see cref="Append"/>.</summary>
    public void Begin()
    {
        Span<byte> prefix = stackalloc byte[1 + sizeof(ulong)];
        prefix[0] = (byte)direction;
        BinaryPrimitives.WriteUInt64LittleEndian(prefix[1..], counter++);
        hash.AppendData(prefix);
    }

    /// <summary>Takes bytes of the frame's header and body.</summary>
    public void Append(ReadOnlySpan<byte> headerAndBody) => hash.AppendData(headerAndBody);

    /// <summary>Writes the 16-byte tag of the frame begun.</summary>
    public void Finish(Span<byte> tag)
    {
        Span<byte> full = stackalloc byte[SHA256.HashSizeInBytes];
        hash.GetHashAndReset(full);
        full[..ProtocolConstants.TagBytes].CopyTo(tag);
    }

    /// <summary>Whether <paramref name="tag"/> is that of the frame begun; compared in constant time.</summary>
    public bool Matches(ReadOnlySpan<byte> tag)
    {
        Span<byte> expected = stackalloc byte[ProtocolConstants.TagBytes];
        Finish(expected);
        return Proofs.AreEqual(expected, tag);
    }

    /// <summary>Whether the next frame's tag is right; counts the frame.</summary>
    public bool Verify(scoped in Frame frame)
    {
        Begin();
        Append(frame.Signed);
        return Matches(frame.Tag);
    }

    /// <inheritdoc/>
    public void Dispose() => hash.Dispose();
}
