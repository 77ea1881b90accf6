using System.Diagnostics;
using System.Runtime.InteropServices;

namespace IotTcpGateway.TestKit;

/// <summary>A program started by the test: its lines, signals by its own id, and its end.</summary>
public sealed partial class ChildProcess : IAsyncDisposable
{
    private const int SigTerm = 15;
    private const int SigCont = 18;
    private const int SigStop = 19;

    private readonly Lock gate = new();
    private readonly List<string> lines = [];
    private readonly Process process;

    private ChildProcess(Process process) => this.process = process;

    /// <summary>Everything it wrote, both streams.</summary>
    public string Output
    {
        get
        {
            lock (gate)
                return string.Join('\n', lines);
        }
    }

    public bool HasExited => process.HasExited;

    public static ChildProcess Start(string program, params string[] arguments)
    {
        var process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        var child = new ChildProcess(process);
        process.OutputDataReceived += (_, line) => child.Take(line.Data);
        process.ErrorDataReceived += (_, line) => child.Take(line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return child;
    }

    /// <summary>Returns when it has written a line that contains the mark; throws if it ends before.</summary>
    public async Task SaysAsync(string mark)
    {
        await Patience.UntilAsync(
            () => Output.Contains(mark, StringComparison.Ordinal) || process.HasExited,
            () => $"never said '{mark}':\n{Output}");
        if (process.HasExited)
            throw new InvalidOperationException($"ended with {process.ExitCode} before it said '{mark}':\n{Output}");
    }

    /// <summary>Waits for its end; returns the exit code.</summary>
    public async Task<int> ExitAsync()
    {
        await process.WaitForExitAsync().WaitAsync(Patience.HangGuard);
        return process.ExitCode;
    }

    /// <summary>Asks it to end (SIGTERM) and waits; returns the exit code.</summary>
    public Task<int> TerminateAsync()
    {
        Send(SigTerm);
        return ExitAsync();
    }

    /// <summary>Lets it run no further (SIGSTOP): its connections stay, and nothing is answered.</summary>
    public void Freeze() => Send(SigStop);

    /// <summary>Ends that.</summary>
    public void Thaw() => Send(SigCont);

    /// <summary>Kills it (SIGKILL) and waits until it is gone.</summary>
    public async Task KillAsync()
    {
        if (!process.HasExited)
            process.Kill();
        await ExitAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        process.Dispose();
    }

    private void Send(int signal)
    {
        if (!process.HasExited && Signal(process.Id, signal) != 0 && !process.HasExited)
            throw new InvalidOperationException($"cannot signal {process.Id}: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    private void Take(string? line)
    {
        if (line is null)
            return;
        lock (gate)
            lines.Add(line);
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);
}
