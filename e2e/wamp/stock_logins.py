"""PyPI's autobahn (asyncio) logs in to a running daemon, by each method it knows.

Run by python.test.mjs, which writes the configuration that has these users.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import unittest
from urllib.parse import urlsplit

from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp import auth
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import JsonSerializer
from autobahn.wamp.types import ComponentConfig, PublishOptions

URL = os.environ["ROOST_URL"]
ANSWER_S = 10
SECRET = "correct horse"
PRIVATE_KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"

TOKEN_SECRET = "Q2c1m8vX4tR7yK0pZ3wH6uJ9sD5fG1hL-stock"


def jwt(user, secret=TOKEN_SECRET, expires_in=600):
    """A token as a backend signs it, which grants what begins with com.example.tokens."""

    def encode(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    caps = [{"channels": ["com.example.tokens.*"], "match": "wildcard", "allow": ["sub", "pub"]}]
    claims = {"sub": user, "exp": int(time.time()) + expires_in, "caps": caps}
    head = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + encode(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + encode(signature)).decode()


# As released it hands its own function the salt as a text, which that refuses.
auth._hash_pbkdf2_secret = lambda password, salt, iterations: auth.pbkdf2(
    password, base64.b64decode(salt), iterations, 32
)


class Session(ApplicationSession):
    """Joins as `authid` by one method, and turns what comes of it into a future."""

    def __init__(self, method, **credentials):
        super().__init__(ComponentConfig(realm="realm1"))
        self.method = method
        self.user = credentials.get("authid")
        self.authenticator = auth.create_authenticator(method, **credentials) if method != "anonymous" else None
        self.outcome = asyncio.get_running_loop().create_future()

    def onConnect(self):
        if self.authenticator is None:
            return self.join("realm1", ["anonymous"])
        self.join("realm1", [self.method], self.user, authextra=self.authenticator.authextra)

    def onChallenge(self, challenge):
        return self.authenticator.on_challenge(self, challenge)

    def onWelcome(self, message):
        if self.method == "scram":
            return self.authenticator.on_welcome(self, message.authextra)

    def onJoin(self, details):
        self.outcome.set_result(details)

    def onLeave(self, details):
        if not self.outcome.done():
            self.outcome.set_result(details.reason)
        self.disconnect()


class Logins(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)

    async def log_in(self, method, **credentials):
        session = Session(method, **credentials)
        factory = WampWebSocketClientFactory(lambda: session, url=f"{URL}/wamp", serializers=[JsonSerializer()])
        at = urlsplit(URL)
        await asyncio.get_running_loop().create_connection(factory, at.hostname, at.port)
        return session, await asyncio.wait_for(session.outcome, ANSWER_S)

    async def test_each_method_lets_in(self):
        for method, credentials in [
            ("ticket", {"authid": "alice", "ticket": SECRET}),
            ("wampcra", {"authid": "alice", "secret": SECRET}),
            ("wampcra", {"authid": "salted", "secret": SECRET}),
            ("scram", {"authid": "salted", "password": SECRET}),
            ("scram", {"authid": "alice", "password": SECRET}),
            ("cryptosign", {"authid": "alice", "privkey": PRIVATE_KEY}),
        ]:
            with self.subTest(method=method, authid=credentials["authid"]):
                session, details = await self.log_in(method, **credentials)
                found = (details.authid, details.authrole, details.authmethod, details.authprovider)
                self.assertEqual(found, (credentials["authid"], "staff", method, "static"))
                session.leave()

    async def test_what_is_wrong_is_denied(self):
        for method, credentials in [
            ("ticket", {"authid": "alice", "ticket": "wrong"}),
            ("wampcra", {"authid": "alice", "secret": "wrong"}),
            ("wampcra", {"authid": "salted", "secret": "wrong"}),
            ("scram", {"authid": "alice", "password": "wrong"}),
            ("cryptosign", {"authid": "alice", "privkey": "11" * 32}),
            ("wampcra", {"authid": "mallory", "secret": SECRET}),
        ]:
            with self.subTest(method=method, authid=credentials["authid"]):
                _, reason = await self.log_in(method, **credentials)
                self.assertEqual(reason, "wamp.error.authentication_denied")

    async def test_a_ticket_is_a_token(self):
        # "alice" has a ticket of the configuration too.
        for user in ["bob", "alice"]:
            session, details = await self.log_in("ticket", authid=user, ticket=jwt(user))
            found = (details.authid, details.authrole, details.authmethod, details.authprovider)
            self.assertEqual(found, (user, "token", "ticket", "jwt"))
            received = asyncio.Queue()
            await asyncio.wait_for(session.subscribe(received.put_nowait, "com.example.tokens.a"), ANSWER_S)
            options = PublishOptions(acknowledge=True, exclude_me=False)
            await asyncio.wait_for(session.publish("com.example.tokens.a", user, options=options), ANSWER_S)
            self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), user)
            with self.assertRaises(ApplicationError) as refused:
                await asyncio.wait_for(session.subscribe(print, "com.example.news"), ANSWER_S)
            self.assertEqual(refused.exception.error, "wamp.error.not_authorized")
            session.leave()

    async def test_a_token_that_is_not_good_is_denied(self):
        for user, ticket in [
            ("bob", jwt("alice")),
            ("bob", jwt("bob", secret="x" * 40)),
            ("bob", jwt("bob", expires_in=-600)),
            ("alice", jwt("bob")),
            ("bob", SECRET),
        ]:
            with self.subTest(user=user):
                _, reason = await self.log_in("ticket", authid=user, ticket=ticket)
                self.assertEqual(reason, "wamp.error.authentication_denied")

    async def test_a_session_ends_with_its_token(self):
        session, _ = await self.log_in("ticket", authid="bob", ticket=jwt("bob", expires_in=2))
        ended = asyncio.get_running_loop().create_future()
        session.onLeave = lambda details: ended.set_result(details.reason)
        self.assertEqual(await asyncio.wait_for(ended, 2 * ANSWER_S), "roost.close.expired")

    async def test_a_role_has_its_permissions(self):
        alice, _ = await self.log_in("ticket", authid="alice", ticket=SECRET)
        guest, details = await self.log_in("anonymous")
        self.assertEqual(details.authrole, "anonymous")
        received = asyncio.Queue()
        await asyncio.wait_for(alice.subscribe(received.put_nowait, "com.example.news"), ANSWER_S)
        options = PublishOptions(acknowledge=True, exclude_me=False)
        await asyncio.wait_for(alice.publish("com.example.news", "hello", options=options), ANSWER_S)
        self.assertEqual(await asyncio.wait_for(received.get(), ANSWER_S), "hello")
        for asked in [
            guest.subscribe(print, "com.example.news"),
            guest.publish("com.example.news", "feigned", options=options),
            guest.register(print, "com.example.procedure"),
            alice.publish("com.other", "not granted", options=options),
        ]:
            with self.assertRaises(ApplicationError) as refused:
                await asyncio.wait_for(asked, ANSWER_S)
            self.assertEqual(refused.exception.error, "wamp.error.not_authorized")
            self.assertIn('"granted"', str(refused.exception.args))
        alice.leave()
        guest.leave()


if __name__ == "__main__":
    unittest.main()
