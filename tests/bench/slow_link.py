#!/usr/bin/env python3
"""A slow link to a server on this machine: `slow_link.py LISTEN_PORT SERVER_PORT MBIT_PER_SECOND [ROUND_TRIP_MS]`.

Each direction has the rate, which all connections share. Bytes arrive half a round trip after they were sent.
"""

import asyncio
import collections
import sys

listen, server, mbits = (int(word) for word in sys.argv[1:4])
delay = (float(sys.argv[4]) if len(sys.argv) > 4 else 0) / 2000
RATE = mbits * 1_000_000 / 8
# What is sent at once takes at most two milliseconds of the link.
CHUNK = max(4_096, min(262_144, int(RATE / 500)))
# What is on its way in each direction of a connection, as the window of TCP bounds it.
WINDOW = 4 << 20


class Direction:
    """When the bytes that are sent next have passed."""

    def __init__(self):
        self.free = 0.0

    async def pass_through(self, count):
        now = asyncio.get_running_loop().time()
        self.free = max(self.free, now) + count / RATE
        if self.free - now > 0.001:
            await asyncio.sleep(self.free - now)


async def carry(reader, writer, direction):
    loop = asyncio.get_running_loop()
    sent, held, arrived = collections.deque(), 0, asyncio.Condition()

    async def deliver():
        nonlocal held
        while True:
            async with arrived:
                await arrived.wait_for(lambda: sent)
                due, data = sent.popleft()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            async with arrived:
                held -= len(data)
                arrived.notify_all()

    delivery = asyncio.ensure_future(deliver())
    try:
        while True:
            data = await reader.read(CHUNK)
            await direction.pass_through(len(data))
            async with arrived:
                await arrived.wait_for(lambda: held < WINDOW)
                held += len(data)
                sent.append((loop.time() + delay, data))
                arrived.notify_all()
            if not data:
                break
        await delivery
    except OSError:
        delivery.cancel()


async def main():
    up, down = Direction(), Direction()

    async def serve(reader, writer):
        try:
            to, back = await asyncio.open_connection("127.0.0.1", server)
            await asyncio.gather(carry(reader, back, up), carry(to, writer, down))
            back.close()
        except OSError:
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", listen, limit=CHUNK) as link:
        await link.serve_forever()


asyncio.run(main())
