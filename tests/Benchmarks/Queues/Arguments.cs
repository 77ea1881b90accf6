using System.Globalization;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>The options of a measurement; null when there was only help to give, or something to complain of.</summary>
internal sealed class Arguments
{
    public string Directory { get; private set; } = ".";

    public int Records { get; private set; } = 100_000;

    public int Rounds { get; private set; } = 5;

    public int[] Groups { get; private set; } = [64, 1];

    public int MebibytesMax { get; private set; } = 1024;

    /// <summary>Runs a measurement with what the command line says, and gives the exit code.</summary>
    public static int Run(string[] args, string help, Action<Arguments> measure)
    {
        if (args.Any(a => a is "--help" or "-h" or "-?"))
        {
            Console.WriteLine(help);
            return 0;
        }

        const int wrongUse = 2;
        var arguments = new Arguments();
        if (args.Length % 2 != 0 || !args.Chunk(2).All(pair => arguments.TrySet(pair[0], pair[1])))
        {
            Console.Error.WriteLine("an option or its value is not known:\n" + help);
            return wrongUse;
        }

        try
        {
            measure(arguments);
            return 0;
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("stopped; nothing is left behind");
        }
        catch (IOException e)
        {
            Console.Error.WriteLine(e.Message);
        }

        return 1;
    }

    private bool TrySet(string name, string value)
    {
        switch (name)
        {
            case "--directory":
                Directory = value;
                return true;
            case "--group":
                Groups = [.. value.Split(',').Select(v => NumberOrZero(v, 2000))];
                return !Groups.Contains(0);
            case "--records":
                return (Records = NumberOrZero(value, 10_000_000)) > 0;
            case "--rounds":
                return (Rounds = NumberOrZero(value, 100)) > 0;
            case "--mebibytes":
                return (MebibytesMax = NumberOrZero(value, 4096)) > 0;
            default:
                return false;
        }
    }

    private static int NumberOrZero(string text, int max) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= max
            ? number
            : 0;
}
