using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace IotTcpGateway.Cli;

/// <summary>The usual help, and an example of the verb at its end.</summary>
internal sealed class HelpWithExample(HelpAction help) : SynchronousCommandLineAction
{
    private static readonly Dictionary<Command, string> Examples = [];

    /// <summary>Gives a verb its example.</summary>
    public static void Add(Command command, string example) => Examples[command] = example;

    /// <summary>Puts it in the place of the root's usual help.</summary>
    public static void PutInto(RootCommand root)
    {
        HelpOption option = root.Options.OfType<HelpOption>().Single();
        option.Action = new HelpWithExample((HelpAction)option.Action!);
    }

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        help.Invoke(parseResult);
        if (Examples.TryGetValue(parseResult.CommandResult.Command, out string? example))
            parseResult.InvocationConfiguration.Output.WriteLine($"Example:\n  {example}\n");
        return ExitCode.Fine;
    }
}
