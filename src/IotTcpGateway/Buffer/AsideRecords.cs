using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Records on disk that are passed over while the broker refuses their devices: a range of ids for each device,
/// whatever their number. Not safe for several threads.
/// </summary>
internal sealed class AsideRecords
{
    private readonly Dictionary<string, (IdRange Ids, long Records)> devices = [];

    /// <summary>How many.</summary>
    public long Records { get; private set; }

    /// <summary>From the first to the last of them.</summary>
    public IdRange Ids { get; private set; } = new(long.MaxValue, 0);

    public void Add(string deviceId, long id)
    {
        (IdRange ids, long records) = devices.GetValueOrDefault(deviceId, (new IdRange(long.MaxValue, 0), 0));
        devices[deviceId] = (Union(ids, new IdRange(id, id)), records + 1);
        Ids = Union(Ids, new IdRange(id, id));
        Records++;
    }

    public bool Has(string deviceId) => devices.ContainsKey(deviceId);

    /// <summary>Whether a record is one of them.</summary>
    public bool Has(string deviceId, long id) =>
        devices.TryGetValue(deviceId, out (IdRange Ids, long Records) of) && id >= of.Ids.First && id <= of.Ids.Last;

    /// <summary>Moves one device's to a set of their own.</summary>
    public AsideRecords Take(string deviceId)
    {
        devices.Remove(deviceId, out (IdRange Ids, long Records) of);
        Records -= of.Records;
        Ids = devices.Values.Aggregate(new IdRange(long.MaxValue, 0), (all, one) => Union(all, one.Ids));
        var taken = new AsideRecords { Ids = of.Ids, Records = of.Records };
        taken.devices.Add(deviceId, of);
        return taken;
    }

    private static IdRange Union(IdRange a, IdRange b) => new(Math.Min(a.First, b.First), Math.Max(a.Last, b.Last));
}
