using System.Reflection;

namespace IotTcpGateway;

/// <summary>The version, from Directory.Build.props by way of the assembly.</summary>
internal static class ProductVersion
{
    public static string Text { get; } =
        typeof(ProductVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0.0.0";
}
