using System.CommandLine;
using System.Net.Sockets;
using System.Text.Json;

using IotTcpGateway.Escaping;
using IotTcpGateway.Health;

namespace IotTcpGateway.Cli;

/// <summary>iotgw status: asks the running gateway.</summary>
internal static class StatusCommand
{
    public static Command Create()
    {
        Option<string> socket = SocketOption();
        var json = new Option<bool>("--json") { Description = "Print JSON for programs." };
        var command = new Command("status", "Ask the running gateway how it is.")
        {
            socket,
            json,
        };
        HelpWithExample.Add(command, "iotgw status --json");
        command.SetAction((parsed, stopping) => AskAsync(parsed.GetValue(socket)!, parsed.GetValue(json), stopping));
        return command;
    }

    /// <summary>The option that names the control socket.</summary>
    public static Option<string> SocketOption() => new("--socket")
    {
        Description = "The gateway's control socket.",
        HelpName = "PATH",
        DefaultValueFactory = _ => ControlSocket.DefaultPath,
    };

    private static async Task<int> AskAsync(string path, bool asJson, CancellationToken stopping)
    {
        string answer;
        try
        {
            answer = await ControlClient.RequestAsync(path, ControlSocket.StatusRequest, stopping).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return CommandLine.Fail(
                ExitCode.CouldNotRun, $"no gateway answers at {path} ({e.Message}): is it running? --socket names another place");
        }

        if (asJson)
        {
            Console.WriteLine(answer);
            return ExitCode.Fine;
        }

        GatewayStatus status = JsonSerializer.Deserialize(answer, StatusJson.Default.GatewayStatus)
            ?? throw new InvalidDataException($"{path} gave no status");
        foreach ((string name, string value) in StatusTable.Of(status))
            Console.WriteLine($"{name,-16} {SafeText.Clean(value, SafeText.LineCharactersMax)}");
        return ExitCode.Fine;
    }
}
