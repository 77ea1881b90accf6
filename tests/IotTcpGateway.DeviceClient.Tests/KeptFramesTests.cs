using System.Buffers.Binary;

using CsCheck;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class KeptFramesTests
{
    private sealed class Model(int bytesMax)
    {
        public List<(ulong Number, ulong Sequence, byte[] Body, bool IsHole)> Frames { get; } = [];

        public ulong Number { get; set; }

        public ulong NextToAdd { get; set; } = 1;

        public ulong NextToSend { get; set; } = 1;

        public int Bytes => Frames.Sum(f => f.Body.Length + KeptFrames.OverheadBytes);

        public bool TryAdd(byte[] body)
        {
            if (Bytes + body.Length + KeptFrames.OverheadBytes > bytesMax)
                return false;
            Frames.Add((++Number, NextToAdd++, body, false));
            return true;
        }

        public void TrimHoles()
        {
            while (Frames.Count > 0 && Frames[0].IsHole)
                Frames.RemoveAt(0);
            NextToSend = Math.Max(NextToSend, Frames.Count > 0 ? Frames[0].Sequence : NextToAdd);
        }
    }

    [Fact]
    public void Operations_AnyOrder_BehaveAsAListDoes()
    {
        Gen.Select(Gen.Int[0, 9], Gen.Int[0, 400]).Array[1, 400].Sample(
            steps =>
            {
                const int BytesMax = 2_000;
                var model = new Model(BytesMax);
                var kept = new KeptFrames(BytesMax, firstSequence: 1);
                foreach ((int what, int size) in steps)
                    Step(model, kept, what, size);
                Drain(model, kept);
            },
            iter: 1_000);
    }

    [Fact]
    public void TryAdd_UpToTheLastByte_FitsAndNotOneMore()
    {
        var kept = new KeptFrames(bytesMax: 100, firstSequence: 1);
        Assert.True(kept.TryAdd(new byte[30], 0));
        Assert.False(kept.TryAdd(new byte[31], 0));
        Assert.True(kept.TryAdd(new byte[30], 0));
        Assert.Equal(100, kept.Bytes);
        Assert.False(kept.TryAdd([], 0));
    }

    private static void Step(Model model, KeptFrames kept, int what, int size)
    {
        switch (what)
        {
            case <= 4:
                var body = new byte[Math.Max(size, sizeof(ulong))];
                BinaryPrimitives.WriteUInt64LittleEndian(body, model.Number + 1);
                Assert.Equal(model.TryAdd(body), kept.TryAdd(body, now: size));
                break;
            case 5 when model.Frames.Count > 0:
                model.Frames.RemoveAt(0);
                model.TrimHoles();
                kept.RemoveOldest();
                break;
            case 6 when model.Frames.Count > 0:
                RemoveOne(model, kept, size % (model.Frames.Count + 1));
                break;
            case 7:
                SendOne(model, kept);
                break;
            case 8 when size < 100:
                kept.Rewind();
                model.NextToSend = model.Frames.Count > 0 ? model.Frames[0].Sequence : model.NextToAdd;
                break;
            case 9 when size < 20:
                Renumber(model, kept);
                break;
        }

        Assert.Equal(model.Bytes, kept.Bytes);
        Assert.Equal(model.Frames.Count(f => !f.IsHole), kept.Count);
        Assert.Equal(model.Number, kept.LastNumber);
    }

    private static void RemoveOne(Model model, KeptFrames kept, int index)
    {
        bool isThere = index < model.Frames.Count && !model.Frames[index].IsHole;
        ulong sequence = index < model.Frames.Count ? model.Frames[index].Sequence : model.NextToAdd;
        Assert.Equal(isThere, kept.TryRemove((uint)sequence, out KeptFrame frame));
        if (!isThere)
            return;
        Assert.Equal(model.Frames[index].Number, frame.Number);
        model.Frames[index] = model.Frames[index] with { IsHole = true };
        model.TrimHoles();
    }

    private static void SendOne(Model model, KeptFrames kept)
    {
        var next = model.Frames.FirstOrDefault(f => f.Sequence >= model.NextToSend && !f.IsHole);
        Assert.Equal(next.Body is not null, kept.TryPeekNext(out KeptFrame frame));
        if (next.Body is null)
            return;
        var body = new byte[frame.BodyBytes];
        kept.CopyNextBody(body);
        Assert.Equal(next.Body, body);
        Assert.Equal((next.Number, next.Sequence), (frame.Number, kept.NextSequence));
        kept.Advance();
        model.NextToSend = next.Sequence + 1;
    }

    private static void Renumber(Model model, KeptFrames kept)
    {
        kept.Renumber();
        model.Frames.RemoveAll(f => f.IsHole);
        for (int i = 0; i < model.Frames.Count; i++)
            model.Frames[i] = model.Frames[i] with { Sequence = (ulong)i + 1 };
        model.NextToAdd = (ulong)model.Frames.Count + 1;
        model.NextToSend = 1;
    }

    private static void Drain(Model model, KeptFrames kept)
    {
        foreach (var expected in model.Frames.Where(f => !f.IsHole))
        {
            Assert.True(kept.TryPeekOldest(out KeptFrame frame));
            Assert.Equal((expected.Number, expected.Sequence), (frame.Number, kept.HeadSequence));
            kept.RemoveOldest();
        }

        Assert.False(kept.TryPeekOldest(out _));
    }
}
