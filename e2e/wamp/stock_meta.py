"""Realms, meta API and retained events with PyPI's autobahn (asyncio), as a transcript that any router can be asked for.

Run by python.test.mjs, which compares it with EXPECTED; or by hand, against Crossbar as well:
ROOST_URL=ws://127.0.0.1:8080 ROOST_PATH=/wamp python stock_meta.py prints the transcript.
"""

import asyncio
import json
import os
import unittest
from urllib.parse import urlsplit

from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, PublishOptions, RegisterOptions, SubscribeOptions

URL = os.environ["ROOST_URL"]
PATH = os.environ.get("ROOST_PATH", "/wamp")
REALMS = ["realm1", "acme"]
TOPIC = "kept:com.topic"
ANSWER_S = 5


class Session(ApplicationSession):
    def __init__(self, realm):
        super().__init__(ComponentConfig(realm=realm))
        self.welcomed = asyncio.get_running_loop().create_future()
        self.left = asyncio.get_running_loop().create_future()

    def onJoin(self, details):
        self.welcomed.set_result(details)

    def onLeave(self, details):
        if not self.left.done():
            self.left.set_result(details)
        self.disconnect()


async def join(realm):
    session = Session(realm)
    factory = WampWebSocketClientFactory(lambda: session, url=f"{URL}{PATH}")
    at = urlsplit(URL)
    await asyncio.get_running_loop().create_connection(factory, at.hostname, at.port)
    await asyncio.wait_for(session.welcomed, ANSWER_S)
    return session


async def within(asked):
    return await asyncio.wait_for(asked, ANSWER_S)


class Script:
    """What is asked, and what is answered, with numbers replaced by names: routers draw their own."""

    def __init__(self):
        self.lines = []
        self.names = {}

    def name(self, number, name):
        self.names[number] = name

    def told(self, value):
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return self.names.get(value, value)
        if isinstance(value, (list, tuple)):
            return [self.told(one) for one in value]
        if isinstance(value, dict):
            return {key: self.told(one) for key, one in value.items() if key != "created"}
        return value

    def say(self, what, value):
        self.lines.append(f"{what}: {json.dumps(self.told(value), sort_keys=True)}")

    async def call(self, session, procedure, *args):
        try:
            answer = await within(session.call(f"wamp.{procedure}", *args))
        except ApplicationError as error:
            answer = error.error
        # A count may be some entry's number.
        told = f"{answer} of them" if "count_" in procedure else answer
        self.say(f"{procedure} {json.dumps(self.told(args))}", told)
        return answer


async def entries(script, realm):
    asker, callee, other = [await join(realm) for _ in range(3)]
    for session, name in [(asker, "asker"), (callee, "callee"), (other, "other")]:
        script.name(session._session_id, name)
    events = asyncio.Queue()
    for event in ["registration.on_create", "registration.on_register", "registration.on_unregister",
                  "registration.on_delete", "subscription.on_create", "subscription.on_subscribe",
                  "subscription.on_unsubscribe", "subscription.on_delete"]:
        hear = lambda *args, event=event: events.put_nowait((event, args))  # noqa: E731
        await within(asker.subscribe(hear, f"wamp.{event}"))

    async def heard(what, count):
        # Those of several topics have no order between them, and routers may name themselves between.
        got = [await within(events.get()) for _ in range(count)]
        lines = [f"{event} {json.dumps(script.told(args), sort_keys=True)}" for event, args in got]
        script.lines.extend(f"{what}: {line}" for line in sorted(lines))

    shared = RegisterOptions(invoke="roundrobin")
    one = await within(callee.register(lambda: 1, "com.proc", options=shared))
    script.name(one.id, "proc")
    two = await within(other.register(lambda: 2, "com.proc", options=shared))
    await heard("two register", 3)
    prefix = await within(callee.register(lambda: 3, "org.", options=RegisterOptions(match="prefix")))
    script.name(prefix.id, "prefix")
    await heard("a prefix is registered", 2)
    await script.call(asker, "registration.list")
    await script.call(asker, "registration.lookup", "com.proc")
    await script.call(asker, "registration.lookup", "org.", {"match": "prefix"})
    await script.call(asker, "registration.lookup", "org.")
    await script.call(asker, "registration.match", "org.any")
    await script.call(asker, "registration.match", "net.any")
    await script.call(asker, "registration.get", one.id)
    await script.call(asker, "registration.list_callees", one.id)
    await script.call(asker, "registration.count_callees", one.id)
    await script.call(asker, "registration.get", 1 << 40)
    await script.call(asker, "registration.list_callees", 1 << 40)
    await within(two.unregister())
    await heard("one unregisters", 1)
    await within(one.unregister())
    await heard("the last unregisters", 2)
    await script.call(asker, "registration.get", one.id)

    first = await within(callee.subscribe(lambda: None, "com.topic"))
    script.name(first.id, "topic")
    second = await within(other.subscribe(lambda: None, "com.topic"))
    await heard("two subscribe", 3)
    pattern = await within(callee.subscribe(lambda: None, "com.", options=SubscribeOptions(match="prefix")))
    script.name(pattern.id, "pattern")
    await heard("a pattern is subscribed to", 2)
    await script.call(asker, "subscription.list")
    await script.call(asker, "subscription.lookup", "com.topic")
    await script.call(asker, "subscription.lookup", "com.", {"match": "prefix"})
    matched = await within(asker.call("wamp.subscription.match", "com.topic"))
    script.say("subscription.match", sorted(str(script.told(one)) for one in matched))
    await script.call(asker, "subscription.match", "net.any")
    await script.call(asker, "subscription.get", first.id)
    subscribers = await within(asker.call("wamp.subscription.list_subscribers", first.id))
    script.say("subscription.list_subscribers", sorted(str(script.told(one)) for one in subscribers))
    await script.call(asker, "subscription.count_subscribers", first.id)
    await script.call(asker, "subscription.get", 1 << 40)
    await within(second.unsubscribe())
    await heard("one unsubscribes", 1)
    await within(first.unsubscribe())
    await heard("the last unsubscribes", 2)
    await script.call(asker, "subscription.get", first.id)
    return [asker, callee, other]


async def realms(script, sessions):
    stranger = await join(REALMS[1])
    script.name(stranger._session_id, "stranger")
    own = await within(stranger.register(lambda: 1, "com.own"))
    script.name(own.id, "own")
    await script.call(stranger, "registration.list")
    await script.call(stranger, "subscription.list")
    await script.call(sessions[0], "registration.get", own.id)
    await script.call(sessions[0], "registration.match", "com.own")
    return stranger


async def retained(script, publisher, stranger):
    for text in ["first", "second"]:
        options = PublishOptions(acknowledge=True, retain=True)
        await within(publisher.publish(TOPIC, text, options=options))
    await within(publisher.publish(TOPIC, "not retained", options=PublishOptions(acknowledge=True)))
    for realm, options in [
        (REALMS[0], SubscribeOptions(get_retained=True, details_arg="details")),
        (REALMS[0], SubscribeOptions(details_arg="details")),
        (REALMS[1], SubscribeOptions(get_retained=True, details_arg="details")),
    ]:
        session = await join(realm)
        heard = asyncio.Queue()
        hear = lambda *args, details=None: heard.put_nowait([args, details.retained])  # noqa: B023, E731
        await within(session.subscribe(hear, TOPIC, options=options))
        later = PublishOptions(acknowledge=True, exclude_me=True)
        by = publisher if realm == REALMS[0] else stranger
        await within(by.publish(TOPIC, "later", options=later))
        got = []
        while not got or got[-1][0] != ("later",):
            got.append(await within(heard.get()))
        what = "get_retained" if options.get_retained else "without"
        script.say(f"{what} in {realm}", got)
        session.leave()
        await within(session.left)


async def transcript():
    script = Script()
    sessions = await entries(script, REALMS[0])
    stranger = await realms(script, sessions)
    await retained(script, sessions[1], stranger)
    for session in [*sessions, stranger]:
        session.leave()
        await within(session.left)
    return script.lines


class Meta(unittest.IsolatedAsyncioTestCase):
    async def test_the_transcript_is_as_expected(self):
        asyncio.get_running_loop().set_debug(False)
        self.maxDiff = None
        self.assertEqual(await transcript(), EXPECTED.strip().split("\n"))


# What Crossbar has answered, line by line.
EXPECTED = """
two register: registration.on_create ["callee", {"id": "proc", "invoke": "roundrobin", "match": "exact", "uri": "com.proc"}]
two register: registration.on_register ["callee", "proc"]
two register: registration.on_register ["other", "proc"]
a prefix is registered: registration.on_create ["callee", {"id": "prefix", "invoke": "single", "match": "prefix", "uri": "org."}]
a prefix is registered: registration.on_register ["callee", "prefix"]
registration.list []: {"exact": ["proc"], "prefix": ["prefix"], "wildcard": []}
registration.lookup ["com.proc"]: "proc"
registration.lookup ["org.", {"match": "prefix"}]: "prefix"
registration.lookup ["org."]: null
registration.match ["org.any"]: "prefix"
registration.match ["net.any"]: null
registration.get ["proc"]: {"id": "proc", "invoke": "roundrobin", "match": "exact", "uri": "com.proc"}
registration.list_callees ["proc"]: ["callee", "other"]
registration.count_callees ["proc"]: "2 of them"
registration.get [1099511627776]: "wamp.error.no_such_registration"
registration.list_callees [1099511627776]: "wamp.error.no_such_registration"
one unregisters: registration.on_unregister ["other", "proc"]
the last unregisters: registration.on_delete ["callee", "proc"]
the last unregisters: registration.on_unregister ["callee", "proc"]
registration.get ["proc"]: "wamp.error.no_such_registration"
two subscribe: subscription.on_create ["callee", {"id": "topic", "match": "exact", "uri": "com.topic"}]
two subscribe: subscription.on_subscribe ["callee", "topic"]
two subscribe: subscription.on_subscribe ["other", "topic"]
a pattern is subscribed to: subscription.on_create ["callee", {"id": "pattern", "match": "prefix", "uri": "com."}]
a pattern is subscribed to: subscription.on_subscribe ["callee", "pattern"]
subscription.list []: {"exact": ["topic"], "prefix": ["pattern"], "wildcard": []}
subscription.lookup ["com.topic"]: "topic"
subscription.lookup ["com.", {"match": "prefix"}]: "pattern"
subscription.match: ["pattern", "topic"]
subscription.match ["net.any"]: null
subscription.get ["topic"]: {"id": "topic", "match": "exact", "uri": "com.topic"}
subscription.list_subscribers: ["callee", "other"]
subscription.count_subscribers ["topic"]: "2 of them"
subscription.get [1099511627776]: "wamp.error.no_such_subscription"
one unsubscribes: subscription.on_unsubscribe ["other", "topic"]
the last unsubscribes: subscription.on_delete ["callee", "topic"]
the last unsubscribes: subscription.on_unsubscribe ["callee", "topic"]
subscription.get ["topic"]: "wamp.error.no_such_subscription"
registration.list []: {"exact": ["own"], "prefix": [], "wildcard": []}
subscription.list []: {"exact": [], "prefix": [], "wildcard": []}
registration.get ["own"]: "wamp.error.no_such_registration"
registration.match ["com.own"]: null
get_retained in realm1: [[["second"], true], [["later"], null]]
without in realm1: [[["later"], null]]
get_retained in acme: [[["later"], null]]
"""

if __name__ == "__main__":
    print("\n".join(asyncio.run(transcript())))
