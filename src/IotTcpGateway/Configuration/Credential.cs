namespace IotTcpGateway.Configuration;

/// <summary>"credential:NAME": a file that systemd hands to the service (LoadCredential=, LoadCredentialEncrypted=).</summary>
internal static class Credential
{
    public const string Mark = "credential:";

    private const string DirectoryVariable = "CREDENTIALS_DIRECTORY";

    public static bool IsNamedBy(string text) => text.StartsWith(Mark, StringComparison.Ordinal);

    /// <summary>Looks the file up; answers what is wrong if it is not there.</summary>
    /// <param name="path">The key that names it.</param>
    /// <param name="text">What stands there.</param>
    /// <param name="file">The file's path; empty if there is none.</param>
    public static ConfigurationFault? Find(string path, string text, out string file)
    {
        file = "";
        string name = text[Mark.Length..];
        if (name is "" or "." or ".." || name.Contains('/') || name.Any(char.IsControl))
            return new ConfigurationFault(path, $"\"{name}\" cannot be the name of a credential", "write the name that LoadCredential= gives it, without a path");
        if (Environment.GetEnvironmentVariable(DirectoryVariable) is not { Length: > 0 } directory)
        {
            return new ConfigurationFault(path, $"{text} is given by systemd to the service alone ({DirectoryVariable} is not set)",
                $"load it with LoadCredential={name}:FILE in the unit, or name a file")
            { IsOfFile = true };
        }

        file = Path.Combine(directory, name);
        return File.Exists(file)
            ? null
            : new ConfigurationFault(path, $"systemd was not told of {text} (there is no {file})",
                $"load it with LoadCredential={name}:FILE in the unit")
            { IsOfFile = true };
    }
}
