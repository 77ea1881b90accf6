using System.CommandLine;

using Command = System.CommandLine.Command;

namespace IotTcpGateway.Cli;

/// <summary>iotgw decode: explains frames, field by field.</summary>
internal static class DecodeCommand
{
    private const long FileBytesMax = 64 * 1024 * 1024;

    public static Command Create()
    {
        var hex = new Argument<string[]>("HEX")
        {
            Description = "Frames in hexadecimal; spaces between digits do not matter.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var file = new Option<string?>("--file")
        {
            Description = "A captured byte stream of one direction instead; - for standard input.",
            HelpName = "FILE",
        };
        var command = new Command("decode", "Explain frames in hexadecimal or a captured byte stream, field by field.")
        {
            hex,
            file,
        };
        HelpWithExample.Add(command, "iotgw decode C749010A0000000001000000AAD1CC1B");
        command.SetAction(parsed => Decode(parsed.GetValue(hex) ?? [], parsed.GetValue(file)));
        return command;
    }

    private static int Decode(string[] hex, string? file)
    {
        if ((hex.Length == 0) == (file is null))
            return CommandLine.Fail(ExitCode.WrongUsage, "give either frames in hexadecimal or --file; see \"iotgw decode --help\"");
        byte[] stream;
        try
        {
            stream = file is null ? Convert.FromHexString(Digits(string.Concat(hex))) : ReadStream(file);
        }
        catch (FormatException)
        {
            return CommandLine.Fail(ExitCode.WrongUsage, "this is not hexadecimal: an even number of digits 0-9 A-F is wanted");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return CommandLine.Fail(ExitCode.CouldNotRun, $"{file} cannot be read: {e.Message}");
        }

        return FrameExplainer.Explain(stream, Console.Out) ? ExitCode.Fine : ExitCode.Bad;
    }

    private static string Digits(string text) =>
        new([.. text.Where(c => !char.IsWhiteSpace(c) && c is not (':' or '-'))]);

    private static byte[] ReadStream(string file)
    {
        using Stream input = file == "-" ? Console.OpenStandardInput() : File.OpenRead(file);
        using var bytes = new MemoryStream();
        var block = new byte[64 * 1024];
        for (int read; (read = input.Read(block)) > 0;)
        {
            if (bytes.Length + read > FileBytesMax)
                throw new IOException($"it is over {FileBytesMax >> 20} MiB: cut it");
            bytes.Write(block, 0, read);
        }

        return bytes.ToArray();
    }
}
