using System.CommandLine;
using System.Text.Json;

using IotTcpGateway.Configuration;
using IotTcpGateway.Escaping;

namespace IotTcpGateway.Cli;

/// <summary>iotgw check: reads the configuration and says what is wrong with it.</summary>
internal static class CheckCommand
{
    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        NewLine = "\n",
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static Command Create()
    {
        var options = new ConfigurationOptions();
        var schema = new Option<bool>("--schema") { Description = "Print the JSON Schema of the configuration instead." };
        var command = new Command("check", "Read and validate the configuration.");
        HelpWithExample.Add(command, "iotgw check --config gateway.json");
        options.AddTo(command);
        command.Options.Add(schema);
        command.SetAction(parsed => parsed.GetValue(schema) ? PrintSchema() : Check(options.Read(parsed)));
        return command;
    }

    private static int PrintSchema()
    {
        Console.WriteLine(ConfigurationSchema.Create().ToJsonString(Indented));
        return ExitCode.Fine;
    }

    private static int Check(ConfigurationResult result)
    {
        foreach (ConfigurationFault fault in result.Faults)
            Console.Error.WriteLine("fault: " + fault);
        if (result.Faults.Count > 0)
            return ExitCode.Bad;
        foreach (string warning in CrossRules.Warnings(result.Configuration))
            Console.Error.WriteLine("warning: " + SafeText.Clean(warning, SafeText.LineCharactersMax));
        foreach (string hint in SecurityWarnings.Hints(result.Configuration))
            Console.WriteLine("hint: " + hint);
        string files = result.Files.Count == 0 ? "no file" : string.Join(", ", result.Files);
        Console.WriteLine($"the configuration is right ({files})");
        return ExitCode.Fine;
    }
}
