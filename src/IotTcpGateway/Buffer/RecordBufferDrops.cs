namespace IotTcpGateway.Buffer;

/// <summary>Who is told of a frame that was given up before it was safe: its device, or the ledger.</summary>
internal sealed partial class RecordBuffer
{
    private List<DeviceStream> held = [];

    /// <summary>Whether the ledger is on disk; set by the spilling thread.</summary>
    public bool IsLedgerOnDisk { get; set; }

    /// <summary>
    /// The streams whose safe sequence waits for the ledger: once that is durable as it is now they are handed to
    /// <see cref="ReleaseHeld"/>.
    /// </summary>
    public List<DeviceStream> TakeHeld()
    {
        lock (gate)
        {
            List<DeviceStream> taken = held;
            held = [];
            foreach (DeviceStream stream in taken)
                stream.IsHeldTaken = true;
            return taken;
        }
    }

    /// <summary>The ledger is durable, or will not be: what was given up holds nothing up any more.</summary>
    public void ReleaseHeld(List<DeviceStream> streamsHeld)
    {
        List<IStreamOwner> owners = [];
        lock (gate)
        {
            foreach (DeviceStream stream in streamsHeld)
            {
                // What was given up since waits for the next time.
                if (!stream.IsHeldTaken)
                    continue;
                stream.HeldFrom = 0;
                stream.IsHeldTaken = false;
                if (AdvanceSafeNeedsLock(stream) && stream.Owner is { } owner)
                    owners.Add(owner);
            }
        }

        Tell(owners);
    }

    // A device that is there hears a NACK before any ACK that covers the frame. One that is away would be told at its
    // return that the frame is safe.
    private void TellDropNeedsLock(DeviceStream stream, uint sequence, DropReason reason)
    {
        if (stream.Owner is not null)
            (stream.Dropped ??= new()).Enqueue(new DroppedFrame(sequence, reason));
        else
            HoldNeedsLock(stream, sequence);
    }

    // A device that goes before it heard of them is as one that was away. No ACK said more than what is before them.
    private void ForgetDroppedNeedsLock(DeviceStream stream)
    {
        if (stream.Dropped is { Count: > 0 } untold)
        {
            HoldNeedsLock(stream, untold.Min(d => d.Sequence));
            if (stream.HeldFrom != 0)
                stream.SafeSequence = Math.Min(stream.SafeSequence, stream.HeldFrom - 1);
        }

        stream.Dropped = null;
    }

    private void HoldNeedsLock(DeviceStream stream, uint sequence)
    {
        if (!IsLedgerOnDisk || options.Ack == AckPolicy.Memory)
            return;
        bool isListed = stream is { HeldFrom: not 0, IsHeldTaken: false };
        stream.HeldFrom = stream.HeldFrom == 0 ? sequence : Math.Min(stream.HeldFrom, sequence);
        stream.IsHeldTaken = false;
        if (!isListed)
            held.Add(stream);
    }
}
