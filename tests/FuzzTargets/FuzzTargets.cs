using IotTcpGateway.Fuzz.Buffer;
using IotTcpGateway.Fuzz.Cli;
using IotTcpGateway.Fuzz.Configuration;
using IotTcpGateway.Fuzz.Forward;
using IotTcpGateway.Fuzz.Ingest;
using IotTcpGateway.Fuzz.Journal;
using IotTcpGateway.Fuzz.Keys;
using IotTcpGateway.Fuzz.Protocol;

namespace IotTcpGateway.Fuzz;

/// <summary>Takes any input; throws if an invariant is broken.</summary>
internal delegate void FuzzCode(ReadOnlySpan<byte> input);

/// <summary>A target, and the namespaces whose branches it is to be led by.</summary>
internal sealed record FuzzTarget(FuzzCode Run, params string[] Namespaces);

/// <summary>The targets by name.</summary>
internal static class FuzzTargets
{
    private const string Protocol = "IotTcpGateway.Protocol";

    public static IReadOnlyDictionary<string, FuzzTarget> All { get; } = new Dictionary<string, FuzzTarget>
    {
        ["frame-reader"] = new(FrameReaderTarget.Run, Protocol),
        ["device-messages"] = new(MessagesTarget.RunFromDevice, Protocol),
        ["gateway-messages"] = new(MessagesTarget.RunFromGateway, Protocol),
        ["session"] = new(SessionTarget.Run, Protocol, "IotTcpGateway.Ingest", "IotTcpGateway.Commands"),
        ["journal"] = new(JournalTarget.Run, "IotTcpGateway.Journal"),
        ["buffer-entries"] = new(EntriesTarget.Run, "IotTcpGateway.Buffer.Spilled", "IotTcpGateway.Buffer.Entry",
            "IotTcpGateway.Buffer.Custody", "IotTcpGateway.Buffer.Ledger"),
        ["drop-ledger"] = new(LedgerTarget.Run, "IotTcpGateway.Buffer.DropLedger", "IotTcpGateway.Buffer.Ledger",
            "IotTcpGateway.Buffer.Entry"),
        ["configuration"] = new(ConfigurationTarget.Run, "IotTcpGateway.Configuration"),
        ["broker-bytes"] = new(BrokerBytesTarget.Run, "IotTcpGateway.Forward", "IotTcpGateway.Commands", "MQTTnet"),
        ["key-file"] = new(KeyFileTarget.Run, "IotTcpGateway.Keys"),
        ["decode"] = new(DecodeTarget.Run, Protocol, "IotTcpGateway.Cli"),
    };
}
