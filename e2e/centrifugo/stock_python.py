"""PyPI's centrifuge-python against a running daemon, with PyPI's websockets as the raw client.

Run by python.test.mjs, or by hand: ROOST_URL=ws://127.0.0.1:8080 python -m unittest -v stock_python
"""

import asyncio
import os
import unittest

import websockets
from centrifuge import CentrifugeError, Client, ClientEventHandler, SubscriptionEventHandler

URL = os.environ["ROOST_URL"]
ANSWER_S = 20


class Events(ClientEventHandler):
    """How often the client has connected and lost its connection."""

    def __init__(self):
        self.connecting = 0
        self.connected = asyncio.Event()
        self.client_id = None

    async def on_connecting(self, ctx):
        self.connecting += 1

    async def on_connected(self, ctx):
        self.client_id = ctx.client
        self.connected.set()


class Publications(SubscriptionEventHandler):
    def __init__(self):
        self.queue = asyncio.Queue()
        self.ended = asyncio.get_running_loop().create_future()

    async def on_publication(self, ctx):
        self.queue.put_nowait(ctx.pub)

    async def on_unsubscribed(self, ctx):
        if not self.ended.done():
            self.ended.set_result(ctx.code)

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), ANSWER_S)


class Stock(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # unittest turns asyncio's debug mode on, which reports every slow step of a busy machine.
        asyncio.get_running_loop().set_debug(False)

    async def join(self, **options):
        events = Events()
        client = Client(f"{URL}/connection/websocket", events=events, timeout=ANSWER_S, **options)
        self.addAsyncCleanup(client.disconnect)
        await client.connect()
        await client.ready(timeout=ANSWER_S)
        return client, events

    async def subscribe(self, client, channel):
        publications = Publications()
        subscription = client.new_subscription(channel, events=publications)
        await subscription.subscribe()
        await subscription.ready(timeout=ANSWER_S)
        return subscription, publications

    async def test_subscribes_publishes_and_unsubscribes(self):
        client, events = await self.join()
        subscription, publications = await self.subscribe(client, "python")
        sent = ["text", 42, None, [1, [2]], {"deep": {"er": "ja"}}, "Grüße, 🐦 \" \\ \n \u0001"]
        for data in sent:
            await subscription.publish(data=data)
        got = [await publications.next() for _ in sent]
        self.assertEqual([pub.data for pub in got], sent)
        self.assertEqual((got[0].info.client, got[0].info.user), (events.client_id, ""))
        await subscription.unsubscribe()
        await client.publish("python", data="unheard")
        await subscription.subscribe()
        await subscription.ready(timeout=ANSWER_S)
        await subscription.publish(data="heard")
        self.assertEqual((await publications.next()).data, "heard")

    async def test_recovers_and_reads_history(self):
        client, _ = await self.join()
        other, _ = await self.join()
        subscription, publications = await self.subscribe(client, "kept:python")
        await other.publish("kept:python", data=0)
        self.assertEqual((await publications.next()).data, 0)
        for number in (1, 3):
            await client.disconnect()
            await other.publish("kept:python", data=number)
            await other.publish("kept:python", data=number + 1)
            await client.connect()
            await subscription.ready(timeout=ANSWER_S)
            self.assertEqual((await publications.next()).data, number)
            self.assertEqual((await publications.next()).data, number + 1)
        page = await subscription.history(limit=-1)
        self.assertEqual([pub.data for pub in page.publications], [0, 1, 2, 3, 4])
        page = await subscription.history(limit=2, reverse=True)
        self.assertEqual([pub.data for pub in page.publications], [4, 3])

    async def test_talks_with_raw_clients(self):
        client, _ = await self.join()
        subscription, publications = await self.subscribe(client, "both")
        async with websockets.connect(f"{URL}/raw/both") as raw:
            await subscription.publish(data={"a": 1})
            self.assertEqual(await asyncio.wait_for(raw.recv(), ANSWER_S), "{\"a\": 1}")
            await raw.send("plain")
            self.assertEqual((await publications.next()).data, {"a": 1})
            self.assertEqual((await publications.next()).data, "plain")

    async def test_protobuf_meets_json(self):
        client, events = await self.join(use_protobuf=True)
        other, _ = await self.join()
        subscription, publications = await self.subscribe(client, "kept:encodings")
        _, in_json = await self.subscribe(other, "kept:encodings")
        await subscription.publish(data=b'{"a": 1}')
        await subscription.publish(data=b"\x01\xff")
        await other.publish("kept:encodings", data={"b": 2})
        got = [await publications.next() for _ in range(3)]
        self.assertEqual([pub.data for pub in got], [b'{"a": 1}', b"\x01\xff", b'{"b": 2}'])
        self.assertEqual(got[0].info.client, events.client_id)
        self.assertEqual([(await in_json.next()).data for _ in range(3)], [{"a": 1}, "\u0000Af8=", {"b": 2}])
        await client.disconnect()
        await other.publish("kept:encodings", data=3)
        await client.connect()
        await subscription.ready(timeout=ANSWER_S)
        self.assertEqual((await publications.next()).data, b"3")
        page = await subscription.history(limit=1, reverse=True)
        self.assertEqual([pub.data for pub in page.publications], [b"3"])
        with self.assertRaises(CentrifugeError) as refused:
            await client.rpc("method", data=b"{}")
        self.assertEqual(refused.exception.code, 108)

    async def test_errors_have_codes(self):
        client, _ = await self.join()
        with self.assertRaises(CentrifugeError) as refused:
            await client.rpc("method", data={})
        self.assertEqual(refused.exception.code, 108)
        publications = Publications()
        subscription = client.new_subscription("closed:x", events=publications)
        await subscription.subscribe()
        self.assertEqual(await asyncio.wait_for(publications.ended, ANSWER_S), 103)

    async def test_a_client_that_publishes_all_the_time_stays_connected(self):
        # It waits for pings alone, whatever else comes: the daemon pings each second here.
        client, events = await self.join(max_server_ping_delay=3.0)
        end = asyncio.get_running_loop().time() + 8
        while asyncio.get_running_loop().time() < end:
            await client.publish("pings", data=1)
            await asyncio.sleep(0.1)
        self.assertEqual(events.connecting, 1)
