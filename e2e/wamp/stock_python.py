"""PyPI's autobahn (asyncio) against a running daemon, with PyPI's websockets as the raw client.

Run by python.test.mjs, or by hand: ROOST_URL=ws://127.0.0.1:8080 python -m unittest -v stock_python
"""

import asyncio
import json
import os
import unittest
from urllib.parse import urlsplit

import websockets
from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import ComponentConfig, PublishOptions

URL = os.environ["ROOST_URL"]
ANSWER_S = 5
TOPIC = "com.example.topic"
ACKNOWLEDGED = PublishOptions(acknowledge=True)


class Session(ApplicationSession):
    """A session that turns the callbacks worth waiting for into futures."""

    def __init__(self):
        super().__init__(ComponentConfig(realm="realm1"))
        loop = asyncio.get_running_loop()
        self.welcomed = loop.create_future()
        self.left = loop.create_future()

    def onJoin(self, details):
        self.welcomed.set_result(details)

    def onLeave(self, details):
        if not self.left.done():
            self.left.set_result(details)
        self.disconnect()


class Stock(unittest.IsolatedAsyncioTestCase):
    serializer = JsonSerializer

    async def asyncSetUp(self):
        # unittest turns asyncio's debug mode on, which reports every slow step of a busy machine.
        asyncio.get_running_loop().set_debug(False)

    async def join(self, serializer=None):
        session = Session()
        serializers = [serializer or self.serializer()]
        factory = WampWebSocketClientFactory(lambda: session, url=f"{URL}/wamp", serializers=serializers)
        at = urlsplit(URL)
        await asyncio.get_running_loop().create_connection(factory, at.hostname, at.port)
        self.details = await asyncio.wait_for(session.welcomed, ANSWER_S)
        self.addAsyncCleanup(self.leave, session)
        return session

    async def leave(self, session):
        if not session.left.done():
            session.leave()
        return await asyncio.wait_for(session.left, ANSWER_S)

    async def listen(self, session, topic=TOPIC):
        received = asyncio.Queue()

        def hear(*args, **kwargs):
            received.put_nowait((list(args), kwargs))

        subscription = await asyncio.wait_for(session.subscribe(hear, topic), ANSWER_S)
        return received, subscription

    async def publish(self, session, *args, topic=TOPIC, options=ACKNOWLEDGED, **kwargs):
        return await asyncio.wait_for(session.publish(topic, *args, options=options, **kwargs), ANSWER_S)

    async def refused_with(self, uri, asked):
        with self.assertRaises(ApplicationError) as refused:
            await asyncio.wait_for(asked, ANSWER_S)
        self.assertEqual(refused.exception.error, uri)

    async def raw(self, path):
        socket = await websockets.connect(f"{URL}{path}")
        self.addAsyncCleanup(socket.close)
        return socket

    async def test_joins_and_leaves(self):
        session = await self.join()
        self.assertEqual(self.details.realm, "realm1")
        self.assertTrue(1 <= self.details.session <= 2**53)
        details = await self.leave(session)
        self.assertEqual(details.reason, "wamp.close.goodbye_and_out")

    async def test_publishes_with_acknowledge(self):
        one, two = await self.join(), await self.join()
        received, _ = await self.listen(two)
        args = ["text", 42, -1.5, True, None, [1, [2]], {"deep": {"er": "ja"}}, 'Grüße, 你好, 🐦 " \\ \n']
        publication = await self.publish(one, *args, colour="red", n=7)
        self.assertTrue(1 <= publication.id <= 2**53)
        self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), (args, {"colour": "red", "n": 7}))

    async def test_hears_itself_only_with_exclude_me_false(self):
        one = await self.join()
        received, _ = await self.listen(one)
        await self.publish(one, "by default")
        await self.publish(one, "excluded", options=PublishOptions(acknowledge=True, exclude_me=True))
        await self.publish(one, "included", options=PublishOptions(acknowledge=True, exclude_me=False))
        self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), (["included"], {}))
        self.assertTrue(received.empty())

    async def test_unsubscribes(self):
        one, two = await self.join(), await self.join()
        received, subscription = await self.listen(one)
        other, same = await self.listen(two)
        self.assertEqual(subscription.id, same.id)
        await asyncio.wait_for(subscription.unsubscribe(), ANSWER_S)
        await self.publish(two, "later", options=PublishOptions(acknowledge=True, exclude_me=False))
        await asyncio.wait_for(other.get(), ANSWER_S)
        await self.publish(one, "a round trip", topic="com.example.unsubscribed")
        self.assertTrue(received.empty())

    async def test_is_told_no_such_subscription(self):
        one = await self.join()
        _, subscription = await self.listen(one)
        # The stock client checks its own list first, so it is made to believe in another id.
        one._subscriptions[4711] = one._subscriptions.pop(subscription.id)
        subscription.id = 4711
        await self.refused_with("wamp.error.no_such_subscription", subscription.unsubscribe())

    async def test_is_told_invalid_uri(self):
        one = await self.join()
        # The one kind of wrong URI that the stock client itself lets pass.
        await self.refused_with("wamp.error.invalid_uri", one.subscribe(lambda: None, "com..empty"))
        await self.publish(one, "still here")

    async def test_hears_a_raw_client(self):
        one = await self.join()
        received, _ = await self.listen(one)
        peer = await self.raw(f"/raw/{TOPIC}")
        await peer.send('plain "text" \\ 🐦')
        await peer.send(bytes([0, 1, 2, 253, 254, 255]))
        self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), (['plain "text" \\ 🐦'], {}))
        # autobahn turns WAMP's convention for binary in JSON back into bytes.
        self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), ([bytes([0, 1, 2, 253, 254, 255])], {}))

    async def test_is_received_by_a_raw_client(self):
        one = await self.join()
        peer = await self.raw(f"/raw/{TOPIC}")
        await self.publish(one, "just text")
        await self.publish(one, bytes([0, 1, 2, 253, 254, 255]))
        await self.publish(one, 1, "two", three=[4])
        self.assertEqual(await asyncio.wait_for(peer.recv(), ANSWER_S), "just text")
        self.assertEqual(await asyncio.wait_for(peer.recv(), ANSWER_S), bytes([0, 1, 2, 253, 254, 255]))
        both = json.loads(await asyncio.wait_for(peer.recv(), ANSWER_S))
        self.assertEqual(both, {"args": [1, "two"], "kwargs": {"three": [4]}})

    async def test_publishes_to_named_receivers(self):
        one, two, three = await self.join(), await self.join(), await self.join()
        heard = [(await self.listen(session))[0] for session in (two, three)]
        ids = [session._session_id for session in (two, three)]
        await self.publish(one, "exclude", options=PublishOptions(acknowledge=True, exclude=ids[:1]))
        await self.publish(one, "eligible", options=PublishOptions(acknowledge=True, eligible=ids[:1]))
        await self.publish(one, "both")
        for ear, expected in zip(heard, (["eligible", "both"], ["exclude", "both"])):
            for word in expected:
                self.assertEqual(await asyncio.wait_for(ear.get(), ANSWER_S), ([word], {}))

    async def test_hears_other_serializers(self):
        one = await self.join()
        heard, _ = await self.listen(one)
        args = ["text", 42, -1.5, True, None, [1, [2]], {"deep": {"er": "ja"}}, bytes([0, 1, 255]), 2**53 + 1, -(2**40)]
        for kind in (JsonSerializer, MsgPackSerializer, CBORSerializer):
            # autobahn ends a message of wamp.2.json.batched with 0x18; the specification says 0x1e.
            for batched in (False, True) if kind is not JsonSerializer else (False,):
                other = await self.join(kind(batched=batched))
                back, _ = await self.listen(other)
                await self.publish(other, *args, kind=kind.__name__)
                self.assertEqual(await asyncio.wait_for(heard.get(), ANSWER_S), (args, {"kind": kind.__name__}))
                await self.publish(one, *args, n=1)
                self.assertEqual(await asyncio.wait_for(back.get(), ANSWER_S), (args, {"n": 1}))
                await self.leave(other)


class StockMsgPack(Stock):
    serializer = MsgPackSerializer


class StockCbor(Stock):
    serializer = CBORSerializer


if __name__ == "__main__":
    unittest.main(verbosity=2)
