namespace IotTcpGateway.Configuration;

/// <summary>One thing that is wrong with the configuration.</summary>
/// <param name="Path">Where: "listeners.0.maxBody", or a file with its line.</param>
/// <param name="Problem">What is wrong.</param>
/// <param name="Remedy">What would be right.</param>
internal sealed record ConfigurationFault(string Path, string Problem, string Remedy)
{
    public override string ToString() => $"{Path}: {Problem}; {Remedy}";
}
