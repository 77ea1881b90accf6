using System.CommandLine;
using System.Text.RegularExpressions;

using IotTcpGateway.Escaping;

namespace IotTcpGateway.Cli;

/// <summary>All verbs, and what happens when one of them fails.</summary>
internal static partial class CommandLine
{
    private static readonly Option<bool> Verbose =
        new("--verbose") { Description = "Show stack traces and debug messages.", Recursive = true };

    // After SIGTERM or Ctrl+C a verb has longer to end than the gateway's own limits add up to.
    private static readonly InvocationConfiguration Invocation = new()
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = TimeSpan.FromSeconds(15),
    };

    public static async Task<int> RunAsync(string[] arguments)
    {
        var root = new RootCommand("iotgw, a TCP to MQTT gateway: what it has acknowledged reaches the broker.")
        {
            RunCommand.Create(),
            DemoCommand.Create(),
            CheckCommand.Create(),
            SimulateCommand.Create(),
            DeviceCommand.Create(),
            DecodeCommand.Create(),
            BufferCommand.Create(),
            StatusCommand.Create(),
            WipeCommand.Create(),
        };
        root.Options.Add(Verbose);
        HelpWithExample.PutInto(root);
        HelpWithExample.Add(root, "iotgw demo");
        ParseResult parsed = root.Parse(arguments);
        // Who asks for help has not filled in everything yet.
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpWithExample)
            return Fail(ExitCode.WrongUsage, WhatIsWrong(parsed, root));

        try
        {
            return await parsed.InvokeAsync(Invocation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Ctrl+C of a verb that has nothing to tidy up.
            return ExitCode.Bad;
        }
        catch (Exception e)
        {
            // The top of the program: one line, unless the stack trace was asked for.
            if (!parsed.GetValue(Verbose))
                return Fail(ExitCode.CouldNotRun, $"{e.GetBaseException().Message} (--verbose shows where)");
            await Console.Error.WriteLineAsync(e.ToString()).ConfigureAwait(false);
            return ExitCode.CouldNotRun;
        }
    }

    private static string WhatIsWrong(ParseResult parsed, RootCommand root)
    {
        Command command = parsed.CommandResult.Command;
        string path = command == root ? "iotgw" : string.Join(' ', PathTo(parsed.CommandResult));
        string problem = NumberTypes().Replace(parsed.Errors[0].Message.TrimEnd('.'), "a number");
        if (parsed.UnmatchedTokens.Count > 0)
        {
            string word = parsed.UnmatchedTokens[0];
            IEnumerable<string> known = [.. command.Subcommands.Select(c => c.Name), .. command.Options.Select(o => o.Name)];
            string? near = Configuration.Suggestion.For(word, known);
            problem = $"\"{word}\" is not known here" + (near is null ? "" : $", did you mean \"{near}\"?");
        }

        return $"{problem}; see \"{path} --help\"";
    }

    // The library names the type that it wanted, not what a person would write.
    [GeneratedRegex(@"expected type '[^']*(Int32|Int64|Double)\]?'")]
    private static partial Regex NumberTypes();

    private static IEnumerable<string> PathTo(System.CommandLine.Parsing.CommandResult result) =>
        result.Parent is System.CommandLine.Parsing.CommandResult parent
            ? PathTo(parent).Append(result.Command.Name)
            : ["iotgw"];

    /// <summary>Whether --verbose was given.</summary>
    public static bool IsVerbose(ParseResult parsed) => parsed.GetValue(Verbose);

    /// <summary>Says what, where and what to do, in one line, and returns the exit code.</summary>
    public static int Fail(int exitCode, string what)
    {
        // It may quote a file, an argument, or what somebody answered.
        Console.Error.WriteLine("iotgw: " + SafeText.Clean(what.ReplaceLineEndings(" "), SafeText.LineCharactersMax));
        return exitCode;
    }
}
