namespace IotTcpGateway.Fuzz.Ingest;

internal static class SessionTarget
{
    public static void Run(ReadOnlySpan<byte> input)
    {
    }
}
