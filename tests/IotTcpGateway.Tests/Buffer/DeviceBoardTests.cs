using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public class DeviceBoardTests
{
    private static readonly ChannelTable Table = ChannelTable.Empty.With([new Channel(1, DataType.I32, "a", "")]);
    private readonly DeviceBoard board = new();

    [Fact]
    public void SetStatus_TwiceBeforeItIsTaken_IsOneNoticeOfTheNewest()
    {
        board.SetStatus(State(isOnline: true));
        board.SetStatus(State(isOnline: false));
        DeviceNotice notice = Take();
        Assert.Equal((false, true, false), (notice.State.IsOnline, notice.StatusChanged, notice.MetaChanged));
        Assert.False(board.TryTake(out _));
        Assert.Equal(0, board.OnlineCount);
    }

    [Fact]
    public void SetStatus_OfAnOlderTurn_IsNotListenedTo()
    {
        board.SetStatus(State(isOnline: true), turn: 1);
        board.SetStatus(State(isOnline: true), turn: 2);
        board.SetStatus(State(isOnline: false), turn: 1);
        Assert.True(Take().State.IsOnline);
        Assert.Equal(1, board.OnlineCount);
    }

    [Fact]
    public void SetChannels_OfADeviceThatIsNotThere_LeavesNothing()
    {
        board.SetChannels("nobody", Table);
        Assert.Empty(board.Snapshot());
        Assert.False(board.TryTake(out _));
    }

    [Fact]
    public void SetStatus_AfterChannels_KeepsThem()
    {
        board.SetStatus(State(isOnline: true));
        board.SetChannels("d", Table);
        board.SetStatus(State(isOnline: false));
        DeviceNotice notice = Take();
        Assert.True(notice.MetaChanged);
        Assert.Same(Table, notice.State.Channels);
    }

    [Fact]
    public void Return_OfWhatWasNotConfirmed_IsPublishedInItsNewestForm()
    {
        board.SetStatus(State(isOnline: true));
        board.SetChannels("d", Table);
        DeviceNotice notice = Take();
        board.SetStatus(State(isOnline: false));
        int changes = 0;
        board.Changed += () => changes++;
        board.Return(notice);
        Assert.Equal(1, changes);
        DeviceNotice again = Take();
        Assert.Equal((false, true, true), (again.State.IsOnline, again.StatusChanged, again.MetaChanged));
    }

    [Fact]
    public void Forget_IsANoticeAndThenNothingIsLeft()
    {
        board.SetStatus(State(isOnline: false));
        Take();
        board.Forget("d");
        Assert.Empty(board.Snapshot());
        DeviceNotice notice = Take();
        Assert.Equal(("d", true, true, true),
            (notice.State.DeviceId, notice.IsForgotten, notice.StatusChanged, notice.MetaChanged));
        board.PublishAll();
        Assert.False(board.TryTake(out _));
    }

    [Fact]
    public void Forget_NotConfirmed_ComesBackOnceForBothTopics()
    {
        board.SetStatus(State(isOnline: false));
        board.Forget("d");
        DeviceNotice notice = Take();
        board.Return(notice);
        board.Return(notice);
        Assert.True(Take().IsForgotten);
        Assert.False(board.TryTake(out _));
    }

    [Fact]
    public void Forget_OfAnOnlineDevice_IsNotDone()
    {
        board.SetStatus(State(isOnline: true));
        board.Forget("d");
        Assert.False(Take().IsForgotten);
    }

    [Fact]
    public void Forget_DeviceComesBackBeforeItIsTaken_IsNotForgotten()
    {
        board.SetStatus(State(isOnline: false));
        board.Forget("d");
        board.SetStatus(State(isOnline: true));
        DeviceNotice notice = Take();
        Assert.Equal((false, true), (notice.IsForgotten, notice.State.IsOnline));
    }

    [Fact]
    public void Return_OfAForgottenOneThatCameBack_DoesNotForgetIt()
    {
        board.SetStatus(State(isOnline: false));
        board.Forget("d");
        DeviceNotice forgotten = Take();
        board.SetStatus(State(isOnline: true));
        board.Return(forgotten);
        Assert.False(Take().IsForgotten);
        Assert.Single(board.Snapshot());
    }

    [Fact]
    public void Return_OfAStatusOfADeviceThatIsForgotten_LeavesItForgotten()
    {
        board.SetStatus(State(isOnline: false));
        DeviceNotice status = Take();
        board.Forget("d");
        Take();
        board.Return(status);
        Assert.False(board.TryTake(out _));
        Assert.Empty(board.Snapshot());
    }

    [Fact]
    public void PublishAll_GivesEveryStatusAndWhatIsDescribed()
    {
        board.SetStatus(State(isOnline: true));
        board.SetStatus(State(isOnline: true) with { DeviceId = "e" });
        board.SetChannels("e", Table);
        Take();
        Take();
        board.PublishAll();
        Assert.Equal((true, false), (Take() is { StatusChanged: true }, false));
        Assert.True(Take().MetaChanged);
    }

    private static DeviceState State(bool isOnline) => new("d", isOnline, "", "", "", 0, null);

    private DeviceNotice Take()
    {
        Assert.True(board.TryTake(out DeviceNotice notice));
        return notice;
    }
}

public class ChannelTableTests
{
    [Fact]
    public void Find_AnyNumber_FindsWhatWasDescribedAndNothingElse()
    {
        ushort[] numbers = [0, 1, 2, 500, 65_534, 65_535];
        ChannelTable table = ChannelTable.Empty.With(
            numbers.Reverse().Select(n => new Channel(n, DataType.I32, $"c{n}", "")));
        Assert.Equal(numbers, table.Channels.Select(c => c.Number));
        for (int number = 0; number <= ushort.MaxValue; number++)
        {
            string? expected = numbers.Contains((ushort)number) ? $"c{number}" : null;
            Assert.Equal(expected, table.Find((ushort)number)?.Name);
        }
    }

    [Fact]
    public void With_SameChannelTwice_LastEntryWinsAndTheOldTableIsUntouched()
    {
        ChannelTable one = ChannelTable.Empty.With([new Channel(1, DataType.I32, "a", "")]);
        ChannelTable two = one.With([new Channel(1, DataType.I32, "b", ""), new Channel(1, DataType.F32, "c", "V")]);
        Assert.Equal("a", one.Find(1)!.Name);
        Assert.Equal(new Channel(1, DataType.F32, "c", "V"), Assert.Single(two.Channels));
    }
}
