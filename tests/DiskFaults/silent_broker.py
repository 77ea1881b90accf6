"""A broker that takes everything and confirms nothing."""
import socket
import threading

from broker import CONNACK, CONNECT, PINGREQ, PINGRESP, PUBLISH, SUBACK, SUBSCRIBE, packet, split_packets


class SilentBroker(threading.Thread):
    """Answers CONNECT, SUBSCRIBE and PINGREQ, of both versions of MQTT; never a PUBLISH."""

    def __init__(self, port=0):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.publishes = 0
        self.connections = 0
        self.links = []
        self.start()

    def run(self):
        while True:
            try:
                link = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            self.links.append(link)
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        stream, version = b"", [4]
        with link:
            try:
                while some := link.recv(65536):
                    packets, stream = split_packets(stream + some)
                    link.sendall(b"".join(self.answer(first, body, version) for first, body in packets))
            except OSError:
                pass  # the gateway has dropped the link, as it should

    def answer(self, first, body, version):
        kind = first >> 4
        if kind == CONNECT:
            version[0] = body[6]
            return packet(CONNACK, 0, b"\0\0" + (b"\0" if version[0] == 5 else b""))
        if kind == SUBSCRIBE:
            return packet(SUBACK, 0, body[:2] + (b"\0" if version[0] == 5 else b"") + b"\1")
        if kind == PINGREQ:
            return packet(PINGRESP, 0, b"")
        self.publishes += kind == PUBLISH
        return b""

    def end(self):
        for one in (self.listener, *self.links):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
        self.listener.close()
