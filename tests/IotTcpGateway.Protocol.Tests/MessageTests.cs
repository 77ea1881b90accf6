using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class MessageTests
{
    [Fact]
    public void CommandTryRead_EveryPrefixAndOneByteMore_IsMalformed()
    {
        byte[] body = [3, (byte)'s', (byte)'e', (byte)'t', 2, 0, 1, 2];
        Assert.True(Command.TryRead(body, out _));
        for (int length = 0; length < body.Length; length++)
            Assert.False(Command.TryRead(body.AsSpan(0, length), out _));
        Assert.False(Command.TryRead([.. body, 0], out _));
    }

    [Fact]
    public void CommandTryRead_NameThatIsEmptyOrNotUtf8_IsMalformed()
    {
        Assert.False(Command.TryRead([0, 0, 0], out _));
        Assert.False(Command.TryRead([1, 0xFF, 0, 0], out _));
        foreach (byte[] name in new byte[][] { [], [0xFF] })
        {
            Assert.Throws<InvalidOperationException>(() =>
                new Command { Name = name, Payload = [] }.WriteBody(new byte[9]));
        }
    }

    [Fact]
    public void ResultTryRead_EveryPrefixAndOneByteMore_IsMalformed()
    {
        byte[] body = [0, 2, 0, 1, 2];
        Assert.True(CommandResult.TryRead(body, out _));
        for (int length = 0; length < body.Length; length++)
            Assert.False(CommandResult.TryRead(body.AsSpan(0, length), out _));
        Assert.False(CommandResult.TryRead([.. body, 0], out _));
    }

    [Fact]
    public void RefuseAndNackTryRead_WithoutTheirFieldsOrWithTextThatIsNotUtf8_AreMalformed()
    {
        for (int length = 0; length <= 5; length++)
        {
            Assert.Equal(length >= 3, Refuse.TryRead(new byte[length], out _));
            Assert.Equal(length >= 1, Nack.TryRead(new byte[length], out _));
        }

        Assert.False(Refuse.TryRead([3, 0, 0, 0xC3, 0x28], out _));
        Assert.False(Nack.TryRead([1, 0xC3, 0x28], out _));
    }
}
