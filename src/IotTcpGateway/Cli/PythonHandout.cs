using System.Globalization;

namespace IotTcpGateway.Cli;

/// <summary>A device in Python's standard library that proves who it is and sends one reading: to begin from.</summary>
internal static class PythonHandout
{
    public static string Write(string id, string hex, GatewayPlace place) => string.Create(
        CultureInfo.InvariantCulture,
        $"""
        # Device {id} of IotTcpGateway. Secret: whoever has this file is this device.
        # Sends one reading and waits until the gateway has it for good; the rest is in docs/protocol.md.
        import hashlib, hmac, os, socket, ssl, struct

        DEVICE_ID = "{id}"
        HOST, PORT, TLS = "{place.Host}", {place.Port}, {(place.IsTls ? "True" : "False")}
        KEY = bytes.fromhex("{hex}")

        """) + Program;

    // The same whatever device: bodies and proofs as in docs/protocol.md.
    private const string Program = """"
        HELLO, CHALLENGE, AUTH, WELCOME, DESCRIBE, DATA, ACK, BYE = 1, 2, 3, 4, 6, 7, 8, 14


        def crc32c(data):
            crc = 0xFFFFFFFF
            for byte in data:
                crc ^= byte
                for _ in range(8):
                    crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
            return crc ^ 0xFFFFFFFF


        def text(value):
            return bytes([len(value)]) + value.encode()


        def proof(*parts):
            return hmac.new(KEY, b"".join(parts), hashlib.sha256).digest()


        def send(line, kind, sequence, body):
            frame = struct.pack("<2sBBHHI", b"\xc7\x49", 1, kind, len(body), 0, sequence) + body
            line.sendall(frame + struct.pack("<I", crc32c(frame)))


        def receive(stream, wanted):
            header = stream.read(12)
            if len(header) < 12:
                raise SystemExit("the gateway closed the connection")
            kind, length, _, sequence = struct.unpack("<3xBHHI", header)
            body, crc = stream.read(length), stream.read(4)
            if crc != struct.pack("<I", crc32c(header + body)):
                raise SystemExit("the gateway sent a damaged frame")
            if kind != wanted:
                raise SystemExit(f"the gateway answered with type {kind}: {body!r}")
            return sequence, body


        def main():
            line = socket.create_connection((HOST, PORT), timeout=30)
            if TLS:
                line = ssl.create_default_context().wrap_socket(line, server_hostname=HOST)
            stream = line.makefile("rb")
            boot = int.from_bytes(os.urandom(4), "little") | 1
            hello = struct.pack("<BBII", 1, 0, boot, 0) + os.urandom(16) + text(DEVICE_ID) + text("handout.py")
            send(line, HELLO, 0, hello)
            nonce = receive(stream, CHALLENGE)[1]
            send(line, AUTH, 0, proof(b"ITGP1 device", hello, nonce))
            welcome = receive(stream, WELCOME)[1]
            if not hmac.compare_digest(welcome[19:], proof(b"ITGP1 gateway", hello, nonce, welcome[:19])):
                raise SystemExit("this is not the gateway that has the key")
            send(line, DESCRIBE, 0, b"\x01" + struct.pack("<HB", 1, 0x0A) + text("temperature") + text("Cel"))
            send(line, DATA, 1, struct.pack("<qHBIf", 0, 1, 0x0A, 0, 21.5))
            print("acknowledged:", receive(stream, ACK)[0])
            send(line, BYE, 0, b"\x00")


        if __name__ == "__main__":
            main()

        """";
}
