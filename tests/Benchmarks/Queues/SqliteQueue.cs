using System.Runtime.InteropServices;

using Microsoft.Data.Sqlite;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>
/// A table as a queue, in SQLite's favour wherever there is a choice: statements prepared once, ids from the program
/// (AUTOINCREMENT writes a second table), payloads read into one buffer, deletion by range.
/// </summary>
internal sealed class SqliteQueue : IQueue
{
    private readonly SqliteConnection connection;
    private readonly SqliteCommand begin;
    private readonly SqliteCommand end;
    private readonly SqliteCommand insert;
    private readonly SqliteCommand select;
    private readonly SqliteCommand delete;
    private readonly byte[] written = new byte[Workloads.PayloadBytes];
    private readonly byte[] read = new byte[Workloads.PayloadBytes];
    private bool isInTransaction;
    private long nextId;
    private long lastRead;

    public SqliteQueue(string directory)
    {
        connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = Path.Combine(directory, "queue.db"),
            Pooling = false,
        }.ToString());
        connection.Open();
        Require("PRAGMA journal_mode = WAL", "wal");
        Prepare("PRAGMA synchronous = FULL").ExecuteNonQuery();
        Require("PRAGMA synchronous", 2L);
        Prepare("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)").ExecuteNonQuery();
        nextId = (long)Prepare("SELECT coalesce(max(id), 0) + 1 FROM queue").ExecuteScalar()!;
        begin = Prepare("BEGIN IMMEDIATE");
        end = Prepare("COMMIT");
        insert = Prepare("INSERT INTO queue VALUES ($id, $payload)", "$id", "$payload");
        insert.Parameters["$payload"].Value = written;
        select = Prepare("SELECT id, payload FROM queue WHERE id > $after ORDER BY id LIMIT $max", "$after", "$max");
        delete = Prepare("DELETE FROM queue WHERE id <= $through", "$through");
    }

    public static string Version => new SqliteConnection().ServerVersion;

    public ulong Seen { get; private set; }

    public (double Records, double Zeros) BytesWritten => (double.NaN, double.NaN);

    public void Append(ReadOnlySpan<byte> payload)
    {
        if (!isInTransaction)
            begin.ExecuteNonQuery();
        isInTransaction = true;
        payload.CopyTo(written);
        insert.Parameters["$id"].Value = nextId++;
        insert.ExecuteNonQuery();
    }

    public void Commit()
    {
        end.ExecuteNonQuery();
        isInTransaction = false;
    }

    public int Read(int recordsMax)
    {
        select.Parameters["$after"].Value = lastRead;
        select.Parameters["$max"].Value = recordsMax;
        using SqliteDataReader rows = select.ExecuteReader();
        int records = 0;
        while (rows.Read())
        {
            lastRead = rows.GetInt64(0);
            if (rows.GetBytes(1, 0, read, 0, read.Length) != read.Length)
                throw new IOException("SQLite gave a payload back that is not the one written");
            Seen += MemoryMarshal.Read<ulong>(read);
            records++;
        }

        return records;
    }

    public void Settle()
    {
        begin.ExecuteNonQuery();
        delete.Parameters["$through"].Value = lastRead;
        delete.ExecuteNonQuery();
        end.ExecuteNonQuery();
    }

    public void Dispose() => connection.Dispose();

    private void Require(string pragma, object value)
    {
        object? found = Prepare(pragma).ExecuteScalar();
        if (!value.Equals(found))
            throw new IOException($"SQLite answers {pragma} with {found}, not {value}");
    }

    private SqliteCommand Prepare(string text, params ReadOnlySpan<string> parameters)
    {
        SqliteCommand command = connection.CreateCommand();
#pragma warning disable CA2100 // constants of this file
        command.CommandText = text;
#pragma warning restore CA2100
        foreach (string parameter in parameters)
            command.Parameters.AddWithValue(parameter, 0L);
        command.Prepare();
        return command;
    }
}
