using System.Security.Cryptography;
using System.Text;

namespace IotTcpGateway.Configuration;

/// <summary>Defaults that come from the machine.</summary>
internal static class GatewayDefaults
{
    private const string MachineIdFile = "/etc/machine-id";

    public static void Fill(GatewayConfiguration configuration)
    {
        if (configuration.Gateway.Id.Length == 0)
            configuration.Gateway.Id = Environment.MachineName;
        if (configuration.Mqtt.ClientId.Length == 0)
            configuration.Mqtt.ClientId = $"iotgw-{configuration.Gateway.Id}-{MachineMark()}";
    }

    // Two gateways of the same id must not throw each other out at the broker; the machine id itself stays private,
    // as machine-id(5) asks.
    private static string MachineMark()
    {
        string machine = File.Exists(MachineIdFile) ? File.ReadAllText(MachineIdFile).Trim() : Environment.MachineName;
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes("iot-tcp-gateway " + machine));
        return Convert.ToHexStringLower(hash.AsSpan(0, 4));
    }
}
