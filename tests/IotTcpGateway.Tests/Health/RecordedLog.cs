using System.Collections.Concurrent;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Tests.Health;

/// <summary>Keeps every line, whoever wrote it.</summary>
internal sealed class RecordedLog : ILogger, ILoggerFactory
{
    private readonly ConcurrentQueue<(int Id, string Text)> lines = new();

    public IEnumerable<string> Lines => lines.Select(l => l.Text);

    public IReadOnlyList<string> Of(int id) => [.. lines.Where(l => l.Id == id).Select(l => l.Text)];

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        lines.Enqueue((eventId.Id, $"{formatter(state, exception)} {exception}"));

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public void Dispose()
    {
    }
}
