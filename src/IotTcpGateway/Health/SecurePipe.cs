using System.IO.Pipelines;

namespace IotTcpGateway.Health;

/// <summary>A stream as the two pipes that Kestrel reads from and writes to.</summary>
internal sealed class SecurePipe(Stream stream) : IDuplexPipe
{
    public PipeReader Input { get; } = PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true));

    public PipeWriter Output { get; } = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
}
