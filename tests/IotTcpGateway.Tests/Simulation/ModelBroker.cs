using IotTcpGateway.Buffer;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// The broker and the gateway's link to it: a window of messages, that arrive in order or are lost with the link, and
/// answers in any order, or never.
/// </summary>
internal sealed class ModelBroker(Random random, Account account)
{
    private readonly Queue<(RecordHandle Handle, ModelFrame Frame, bool IsBackfill)> onTheWay = new();
    private readonly List<(RecordHandle Handle, ModelFrame Frame)> unanswered = [];
    private readonly List<GapReport> reports = [];
    private int window = 16;

    public bool IsUp { get; private set; }

    public void Connect(ModelGateway gateway)
    {
        if (IsUp)
            return;
        IsUp = true;
        window = random.Next(4) == 0 ? 1 : random.Next(2, 64);
        gateway.Buffer.BeginTaking();
        account.NewLink();
    }

    /// <summary>The link breaks: what was on the way may have arrived, in order, and nobody hears of it.</summary>
    public void Disconnect(ModelGateway gateway)
    {
        if (!IsUp)
            return;
        Arrive(random.Next(onTheWay.Count + 1));
        Lose();
        gateway.Buffer.Rewind();
        gateway.Ledger.Rewind();
        account.NewLink();
    }

    /// <summary>The gateway is gone.</summary>
    public void Lose()
    {
        IsUp = false;
        onTheWay.Clear();
        unanswered.Clear();
        reports.Clear();
    }

    /// <summary>The gateway publishes what there is and fits into the window; true if there was anything.</summary>
    public bool Take(ModelGateway gateway, bool isBacklogAllowed)
    {
        if (!IsUp)
            return false;
        bool isAny = false;
        while (onTheWay.Count + unanswered.Count < window && gateway.Buffer.TryTake(out BufferedRecord record, isBacklogAllowed))
        {
            ModelFrame frame = gateway.Identify(record);
            account.HandedOut(frame);
            onTheWay.Enqueue((record.Handle, frame, record.IsBackfill));
            isAny = true;
        }

        while (reports.Count < 4 && gateway.Ledger.TryTake(out GapReport? report))
        {
            reports.Add(report);
            isAny = true;
        }

        return isAny;
    }

    /// <summary>Some arrive, and some are answered.</summary>
    public void Answer(ModelGateway gateway, int messages)
    {
        Arrive(messages);
        while (messages-- > 0 && unanswered.Count > 0)
        {
            int index = random.Next(unanswered.Count);
            (RecordHandle handle, ModelFrame frame) = unanswered[index];
            unanswered.RemoveAt(index);
            if (frame.IsPoison)
            {
                gateway.Buffer.Refuse(handle, "not-authorized");
                continue;
            }

            gateway.Buffer.Confirm(handle);
            account.Settled(frame);
        }

        foreach (GapReport report in reports)
        {
            account.Published(report);
            gateway.Ledger.Published(report);
        }

        reports.Clear();
    }

    // A message that is encoded again is read again from the buffer.
    public void LookAgain(ModelGateway gateway)
    {
        foreach ((RecordHandle handle, ModelFrame frame) in unanswered)
            Account.Require(gateway.Identify(gateway.Buffer.Read(handle)) == frame, $"{frame} has become another");
    }

    private void Arrive(int messages)
    {
        while (messages-- > 0 && onTheWay.TryDequeue(out (RecordHandle Handle, ModelFrame Frame, bool IsBackfill) next))
        {
            if (!next.Frame.IsPoison)
                account.Arrived(next.Frame, next.IsBackfill);
            unanswered.Add((next.Handle, next.Frame));
        }
    }
}
