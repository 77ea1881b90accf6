using System.Security.Cryptography;

using BenchmarkDotNet.Attributes;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Benchmarks;

/// <summary>One 64-byte DATA frame of three records, read and written; "Allocated" must be empty.</summary>
[MemoryDiagnoser]
public class CodecBenchmarks
{
    private const int FrameBytes = 64;
    private static readonly FrameTagger Tagger = new(new byte[ProtocolConstants.ProofBytes], FrameDirection.FromDevice);

    private readonly byte[] body = new byte[FrameBytes - ProtocolConstants.FrameBytes(0, tagged: false)];
    private readonly byte[] plain = new byte[FrameBytes];
    private readonly byte[] tagged = new byte[FrameBytes + ProtocolConstants.TagBytes];
    private readonly byte[] written = new byte[FrameBytes + ProtocolConstants.TagBytes];
    private readonly byte[] describe = new byte[512];
    private int describeBytes;

    [GlobalSetup]
    public void Prepare()
    {
        WriteBody(body);
        FrameWriter.Write(plain, FrameType.Data, 42, body);
        FrameWriter.Write(tagged, FrameType.Data, 42, body, Tagger);
        var writer = new DescribeWriter(describe);
        for (ushort channel = 1; channel <= 16; channel++)
            writer.TryAdd(channel, DataType.F32, "boiler/temperature"u8, "Cel"u8);
        describeBytes = writer.Written;
        if (WritePlain() != FrameBytes || ReadPlain() != 3 || ReadTagged() != 3 || ReadDescribe() != 16)
            throw new InvalidOperationException("the frames to be measured are not right");
    }

    /// <summary>What the gateway does before a frame goes into the buffer, and a walk over its records.</summary>
    [Benchmark(Baseline = true)]
    public int ReadPlain() => Read(plain, out _);

    /// <summary>The same and the tag computed; it does not match, for a counter never comes back.</summary>
    [Benchmark]
    public int ReadTagged()
    {
        int records = Read(tagged, out Frame frame);
        return Tagger.Verify(frame) ? -records : records;
    }

    [Benchmark]
    public uint Checksum() => Crc32C.Compute(plain);

    [Benchmark]
    public int ReadDescribe()
    {
        ReadOnlySpan<byte> entries = describe.AsSpan(0, describeBytes);
        if (!DescribeReader.IsValid(entries))
            return 0;
        int count = 0;
        var reader = new DescribeReader(entries);
        while (reader.TryRead(out _))
            count++;
        return count;
    }

    [Benchmark]
    public int WritePlain() => FrameWriter.Finish(
        written, FrameType.Data, 42, WriteBody(written.AsSpan(ProtocolConstants.HeaderBytes, body.Length)));

    [Benchmark]
    public int WriteTagged() => FrameWriter.Finish(
        written, FrameType.Data, 42, WriteBody(written.AsSpan(ProtocolConstants.HeaderBytes, body.Length)), Tagger);

    [Benchmark]
    public int WriteAck() => FrameWriter.WriteAck(written, 42, 64);

    private static int Read(byte[] bytes, out Frame frame)
    {
        if (FrameReader.Read(bytes, out frame) != FrameReadResult.Frame
            || DataReader.Check(frame.Body, out _) != DataFault.None)
        {
            return 0;
        }

        int records = 0;
        var reader = new DataReader(frame.Body);
        while (reader.TryRead(out DataRecord record))
            records += record.Value.IsEmpty ? 0 : 1;
        return records;
    }

    private static int WriteBody(Span<byte> destination)
    {
        var writer = new DataWriter(destination, 1_763_900_000_000_000);
        writer.Add(1, 0, 21.5f);
        writer.Add(2, 0, 4711u);
        writer.AddText(3, 0, "heating on"u8);
        return writer.Written;
    }
}

/// <summary>Once a connection: a proof made and compared.</summary>
[MemoryDiagnoser]
public class ProofBenchmarks
{
    private readonly byte[] key = RandomNumberGenerator.GetBytes(ProtocolConstants.KeyBytes);
    private readonly byte[] hello = new byte[39];
    private readonly byte[] nonce = new byte[ProtocolConstants.NonceBytes];
    private readonly byte[] proof = new byte[ProtocolConstants.ProofBytes];

    [Benchmark]
    public bool DeviceProof()
    {
        Proofs.Device(key, hello, nonce, proof);
        return Proofs.AreEqual(proof, proof);
    }
}
