using System.Text;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class DescribeTests
{
    private static readonly byte[] Entry = [1, 0, (byte)DataType.F32, 1, (byte)'a', 1, (byte)'%'];

    [Fact]
    public void IsValid_CountAndEntries_MustAgree()
    {
        for (int announced = 0; announced <= byte.MaxValue; announced++)
        {
            foreach (int entries in new[] { announced - 1, announced, announced + 1 })
            {
                if (entries < 0)
                    continue;
                byte[] body = [(byte)announced, .. Enumerable.Repeat(Entry, entries).SelectMany(e => e)];
                Assert.Equal(announced == entries, DescribeReader.IsValid(body));
            }
        }
    }

    [Fact]
    public void IsValid_EveryPrefix_IsNot()
    {
        byte[] body = [3, .. Entry, .. Entry, .. Entry];
        for (int length = 0; length < body.Length; length++)
            Assert.False(DescribeReader.IsValid(body.AsSpan(0, length)));
        Assert.True(DescribeReader.IsValid(body));
        Assert.False(DescribeReader.IsValid([.. body, 0]));
    }

    [Fact]
    public void IsValid_NameAndUnitOfEveryLength_64And32AreTheMost()
    {
        for (int length = 0; length <= byte.MaxValue; length++)
        {
            byte[] text = [.. Enumerable.Repeat((byte)'x', length)];
            byte[] name = [1, 1, 0, 10, (byte)length, .. text, 0];
            byte[] unit = [1, 1, 0, 10, 1, (byte)'a', (byte)length, .. text];
            Assert.Equal(length is >= 1 and <= 64, DescribeReader.IsValid(name));
            Assert.Equal(length <= 32, DescribeReader.IsValid(unit));
        }
    }

    [Fact]
    public void IsValid_EveryValueTypeByte_KnowsThirteen()
    {
        for (int type = 0; type <= byte.MaxValue; type++)
            Assert.Equal(type is >= 1 and <= 13, DescribeReader.IsValid([1, 1, 0, (byte)type, 1, (byte)'a', 0]));
    }

    [Fact]
    public void IsValid_UnitThatIsNotUtf8_IsNot() =>
        Assert.False(DescribeReader.IsValid([1, 1, 0, 10, 1, (byte)'a', 2, 0xC3, 0x28]));

    [Fact]
    public void TryRead_BehindAFault_ReadsNothing()
    {
        byte[] bad = [1, 0, 0, 1, (byte)'a', 0];
        var reader = new DescribeReader([3, .. Entry, .. bad, .. Entry]);
        Assert.True(reader.TryRead(out _));
        for (int i = 0; i < 3; i++)
            Assert.False(reader.TryRead(out _));
    }

    [Fact]
    public void TryAdd_WhenTheRoomEndsAnywhere_AnswersFalseAndLeavesAValidBody()
    {
        for (int room = 1; room <= 60; room++)
        {
            var destination = new byte[room];
            var writer = new DescribeWriter(destination);
            int added = 0;
            while (writer.TryAdd(1, DataType.F32, "abc"u8, "Cel"u8))
                added++;
            Assert.Equal((room - 1) / 11, added);
            Assert.Equal(1 + (11 * added), writer.Written);
            Assert.True(DescribeReader.IsValid(destination.AsSpan(0, writer.Written)));
        }
    }

    [Fact]
    public void TryAdd_AfterTheCountIsFull_AnswersFalse()
    {
        var destination = new byte[4096];
        var writer = new DescribeWriter(destination);
        for (int i = 0; i < byte.MaxValue; i++)
            Assert.True(writer.TryAdd((ushort)i, DataType.U8, "a"u8, default));
        Assert.False(writer.TryAdd(255, DataType.U8, "a"u8, default));
        Assert.True(DescribeReader.IsValid(destination.AsSpan(0, writer.Written)));
    }

    [Theory]
    [InlineData(DataType.F32, "", "")]
    [InlineData(DataType.F32, "a//b", "")]
    [InlineData(DataType.F32, "meta", "")]
    [InlineData((DataType)0, "a", "")]
    [InlineData((DataType)14, "a", "")]
    [InlineData(DataType.F32, "a", "123456789012345678901234567890123")]
    public void TryAdd_WhatNoReaderTakes_Throws(DataType type, string name, string unit) =>
        Assert.ThrowsAny<ArgumentException>(() => new DescribeWriter(new byte[256]).TryAdd(
            1, type, Encoding.UTF8.GetBytes(name), Encoding.UTF8.GetBytes(unit)));
}
