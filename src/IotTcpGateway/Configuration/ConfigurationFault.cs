namespace IotTcpGateway.Configuration;

/// <summary>One thing that is wrong with the configuration.</summary>
/// <param name="Path">Where: "listeners.0.maxBody", or a file with its line.</param>
/// <param name="Problem">What is wrong.</param>
/// <param name="Remedy">What would be right.</param>
internal sealed record ConfigurationFault(string Path, string Problem, string Remedy)
{
    /// <summary>
    /// Whether only a file or credential is missing or not right: what the configuration means is understood, and verbs that
    /// do not need the file can do their work.
    /// </summary>
    public bool IsOfFile { get; init; }

    /// <summary>One line, whatever stands in the file.</summary>
    public override string ToString() =>
        string.Concat($"{Path}: {Problem}; {Remedy}".Select(c => char.IsControl(c) ? ' ' : c));
}
