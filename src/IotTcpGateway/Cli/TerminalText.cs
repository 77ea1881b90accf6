namespace IotTcpGateway.Cli;

/// <summary>Text of others, made fit for a terminal.</summary>
internal static class TerminalText
{
    public static string Escape(string text) =>
        string.Concat(text.Select(c => char.IsControl(c) ? $"\\u{(int)c:x4}" : c.ToString()));
}
