using System.CommandLine;

using IotTcpGateway.Configuration;

namespace IotTcpGateway.Cli;

/// <summary>The options by which a verb finds its configuration.</summary>
internal sealed class ConfigurationOptions
{
    private readonly Option<string?> file = new("--config")
    {
        Description = $"Configuration file; conf.d/*.json beside it follow. Default: {ConfigurationReader.DefaultFile}",
        HelpName = "FILE",
    };

    private readonly Option<string[]> settings = new("--set")
    {
        Description = "Sets one value, such as mqtt.brokers.0=mqtt://broker.example; may be repeated.",
        HelpName = "KEY=VALUE",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    public void AddTo(Command command)
    {
        command.Options.Add(file);
        command.Options.Add(settings);
    }

    public ConfigurationResult Read(ParseResult parsed) => ConfigurationReader.Read(
        parsed.GetValue(file), Environment.GetEnvironmentVariables(), parsed.GetValue(settings) ?? []);
}
