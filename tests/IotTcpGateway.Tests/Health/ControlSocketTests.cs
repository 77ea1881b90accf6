using System.Diagnostics.Metrics;
using System.Net.Sockets;
using System.Text;

using IotTcpGateway.Health;

using Microsoft.Extensions.Logging.Abstractions;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class ControlSocketTests : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly Meter meter = new("test");

    private string SocketPath => Path.Combine(directory.FullName, "control.sock");

    public void Dispose()
    {
        meter.Dispose();
        directory.Delete(recursive: true);
    }

    [Fact]
    public async Task Ask_Status_IsAnsweredAndOnlyOwnerAndGroupMayAsk()
    {
        using ControlSocket control = Started();
        Assert.Contains("\"gateway\":\"g\"", await AskAsync("status\n"), StringComparison.Ordinal);
        Assert.Contains("unknown request", await AskAsync("rm -rf\n"), StringComparison.Ordinal);
        Assert.Contains("unknown request", await AskAsync(new string('x', 256)), StringComparison.Ordinal);
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode(SocketPath) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite));
    }

    [Fact]
    public async Task Start_LeftoverOfAKilledGateway_IsReplaced()
    {
        // Disposing removes the file that was bound; under another name it stays, as after a kill.
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(SocketPath + ".bound"));
            File.Move(SocketPath + ".bound", SocketPath);
        }

        Assert.True(File.Exists(SocketPath));
        using ControlSocket control = Started();
        Assert.Contains("\"gateway\"", await AskAsync("status\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Start_AnotherGatewayAnswers_LeavesItAlone()
    {
        using ControlSocket first = Started();
        using (ControlSocket second = Started())
            Assert.Contains("\"gateway\"", await AskAsync("status\n"), StringComparison.Ordinal);
        Assert.Contains("\"gateway\"", await AskAsync("status\n"), StringComparison.Ordinal);
    }

    [Fact]
    public void Dispose_RemovesTheSocket()
    {
        Started().Dispose();
        Assert.False(File.Exists(SocketPath));
    }

    private ControlSocket Started()
    {
        var control = new ControlSocket(SocketPath, Statuses.Health(meter), NullLogger.Instance);
        control.Start();
        return control;
    }

    private async Task<string> AskAsync(string request)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(SocketPath));
        await using var stream = new NetworkStream(socket);
        await stream.WriteAsync(Encoding.UTF8.GetBytes(request));
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync();
    }
}
