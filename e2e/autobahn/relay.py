"""TLS for clients that have none: takes TCP connections and hands their bytes to a server over TLS.

OpenSSL is the peer, through Python's ssl. Bytes are passed on as they come; the end of one side becomes
the end of the other. What TLS itself does wrong is kept in `faults`: a server that is not trusted, a
broken record, FIN without close_notify.
"""

import asyncio
import ssl
import threading

READ_BYTES = 64 << 10


class TlsRelay:
    """Listens on `address`, on a port that the kernel chose, until the `with` block ends."""

    def __init__(self, server, certificate):
        host, _, port = server.rpartition(":")
        self.server = (host.strip("[]"), int(port))
        self.context = ssl.create_default_context(cafile=certificate)
        self.address = None
        self.connections = 0
        self.faults = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop)
        self.listener = listening.result()
        self.address = "{}:{}".format(*self.listener.sockets[0].getsockname())
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.listener.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def serve(self, reader, writer):
        self.connections += 1
        connection = Connection(self.context, self.server[0])
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.server)
        except OSError as error:
            self.faults.append(f"cannot connect: {error}")
            writer.close()
            return
        try:
            await connection.handshake(server_reader, server_writer)
            down = asyncio.ensure_future(connection.down(server_reader, server_writer, writer))
            await asyncio.gather(connection.up(reader, server_writer), down)
        except ssl.SSLError as error:
            self.faults.append(str(error))
        except OSError:
            pass  # a side reset the connection: the cases judge whether it may
        finally:
            for one in (writer, server_writer):
                one.close()


class Connection:
    """One connection's TLS, between two pairs of streams in the clear."""

    def __init__(self, context, name):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    async def handshake(self, reader, writer):
        while True:
            try:
                self.tls.do_handshake()
                return await self.flush(writer)
            except ssl.SSLWantReadError:
                await self.flush(writer)
                await self.take(reader)

    async def up(self, reader, server_writer):
        """Client to server; at the client's end close_notify and FIN."""
        while data := await reader.read(READ_BYTES):
            self.tls.write(data)
            await self.flush(server_writer)
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # it wants the server's close_notify, for which `down` waits
        await self.flush(server_writer)
        if server_writer.can_write_eof():
            server_writer.write_eof()

    async def down(self, reader, server_writer, writer):
        """Server to client; at the server's end FIN."""
        while True:
            try:
                data = self.tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self.flush(server_writer)  # an answer to a key update
                await self.take(reader)
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                break
            writer.write(data)
            await writer.drain()
        while await reader.read(READ_BYTES):  # close_notify, then FIN
            pass
        writer.write_eof()

    async def take(self, reader):
        data = await reader.read(READ_BYTES)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()  # without close_notify reading fails with SSLEOFError

    async def flush(self, writer):
        writer.write(self.outgoing.read())
        await writer.drain()
