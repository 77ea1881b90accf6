using System.Collections.Concurrent;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Integration;

/// <summary>Keeps what the gateway logs, for the message of a test that fails.</summary>
internal sealed class TestLog : ILogger
{
    private const int LinesShown = 30;

    private readonly ConcurrentQueue<string> lines = new();

    public string Tail => string.Join('\n', lines.TakeLast(LinesShown));

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
            lines.Enqueue($"{logLevel} {eventId.Id}: {formatter(state, exception)} {exception}".TrimEnd());
    }
}
