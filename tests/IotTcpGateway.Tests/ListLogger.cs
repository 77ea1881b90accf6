using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Tests;

/// <summary>A line of the log.</summary>
internal sealed record LogLine(int Event, LogLevel Level, string Text);

/// <summary>Keeps what was logged. For one thread.</summary>
internal sealed class ListLogger(List<LogLine> lines) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        lines.Add(new LogLine(eventId.Id, logLevel, formatter(state, exception)));
}
