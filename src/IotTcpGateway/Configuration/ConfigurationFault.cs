namespace IotTcpGateway.Configuration;

/// <summary>One thing that is wrong with the configuration.</summary>
/// <param name="Path">Where: "listeners.0.maxBody", or a file with its line.</param>
/// <param name="Problem">What is wrong.</param>
/// <param name="Remedy">What would be right.</param>
internal sealed record ConfigurationFault(string Path, string Problem, string Remedy)
{
    /// <summary>Whether a credential is missing: only the service has them, and not every verb needs them.</summary>
    public bool IsOfCredential { get; init; }

    /// <summary>One line, whatever stands in the file.</summary>
    public override string ToString() =>
        string.Concat($"{Path}: {Problem}; {Remedy}".Select(c => char.IsControl(c) ? ' ' : c));
}
