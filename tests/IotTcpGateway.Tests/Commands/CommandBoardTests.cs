using IotTcpGateway.Commands;

using Xunit;

namespace IotTcpGateway.Tests.Commands;

public class CommandBoardTests
{
    private readonly CommandBoard board = new();

    [Fact]
    public void Post_DeviceNotThere_IsAnsweredAtOnce()
    {
        int answered = 0;
        board.Answered += () => answered++;
        board.Post(Request());
        Assert.Equal("the device is not connected", Answer().Error);
        Assert.Equal(1, answered);
    }

    [Theory]
    [InlineData(10, 499, true)]
    [InlineData(10, 500, false)]
    [InlineData(255, 0, true)]
    [InlineData(256, 0, false)]
    [InlineData(0, 0, false)]
    public void Post_MoreThanACommandFrameHolds_IsRefused(int nameBytes, int payloadBytes, bool isTaken)
    {
        var receiver = new Receiver();
        board.Attach("d", receiver);
        board.Post(Request() with { Name = new string('n', nameBytes), Payload = new byte[payloadBytes] });
        Assert.Equal(isTaken ? 1 : 0, receiver.Taken);
        Assert.Equal(!isTaken, board.Answers.TryRead(out _));
    }

    [Fact]
    public void Detach_OfAnOlderReceiver_LeavesTheNewer()
    {
        Receiver older = new(), newer = new();
        board.Attach("d", older);
        board.Attach("d", newer);
        board.Detach("d", older);
        board.Post(Request());
        Assert.Equal((0, 1), (older.Taken, newer.Taken));
    }

    [Fact]
    public void Answer_MoreThanWaitForTheBroker_OldestGoesAndIsCounted()
    {
        for (int i = 0; i < 300; i++)
            board.Answer(new CommandAnswer(Request() with { Name = $"c{i}" }, 0, [], null));
        Assert.Equal(44, board.AnswersDropped);
        Assert.Equal("c44", Answer().Request.Name);
    }

    private static CommandRequest Request() => new("d", "set", [], null, null);

    private CommandAnswer Answer()
    {
        Assert.True(board.Answers.TryRead(out CommandAnswer? answer));
        return answer;
    }

    private sealed class Receiver : ICommandReceiver
    {
        public int Taken { get; private set; }

        public string? Receive(CommandRequest request)
        {
            Taken++;
            return null;
        }
    }
}
