#!/usr/bin/env python3
"""PyPI's zeep against a daemon that this script starts, over PyPI's websocket-client; PyPI's autobahn
is the callee that answers. The last cases write what Cinder's driver for DataCore writes, and what WCF
asks for in its handshake.

    python3 e2e/soap/run.py                 on each driver
    python3 e2e/soap/run.py --driver epoll

Needs requirements.txt and ../wamp/requirements.txt. ROOSTD is the daemon (target/release/roostd).
The exit status is 0 if all cases passed.
"""

import argparse
import asyncio
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import lxml.etree as etree
import requests
import websocket
import zeep
from autobahn.asyncio.wamp import ApplicationSession
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import JsonSerializer
from autobahn.wamp.types import ComponentConfig
from zeep.wsa import WsAddressingPlugin

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEADLINE_S = 30
V11 = "http://schemas.xmlsoap.org/soap/envelope/"
V12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
SERVICE = "urn:example:calculator"
CONTENT_TYPES = {"soap11": "text/xml", "soap12": "application/soap+xml; charset=utf-8"}
CONFIG = """
[listener]
address = "127.0.0.1:0"
[soap]
enabled = true
request_timeout = "2s"
[admin]
socket = "@WORK@/admin.sock"
"""


class Daemon:
    """A daemon of our own; ended on the way out, whatever happened."""

    def __init__(self, work, driver):
        self.log = work / "roostd.log"
        (work / "roost.toml").write_text(CONFIG.replace("@WORK@", str(work)))
        binary = os.environ.get("ROOSTD", ROOT / "target/release/roostd")
        with_parent = [str(ROOT / "scripts/with-parent"), str(os.getpid())]
        self.command = with_parent + [str(binary), "run", "--config", str(work / "roost.toml"), "--driver", driver]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + DEADLINE_S
        while not (ready := re.search(r'ready address="?127\.0\.0\.1:(\d+)', self.said())):
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.child.kill()
                raise RuntimeError(f"the daemon is not ready:\n{self.said()}")
            time.sleep(0.05)
        self.url = f"ws://127.0.0.1:{ready[1]}"
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGINT)
        try:
            self.status = self.child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.status = self.child.wait()

    def said(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))


class Callee(ApplicationSession):
    """The service: each operation is a procedure of the name of its action."""

    def __init__(self, ready):
        super().__init__(ComponentConfig(realm="realm1"))
        self.ready = ready

    async def onJoin(self, details):
        for operation in (self.add, self.divide, self.sleep):
            await self.register(operation, f"{SERVICE}:{operation.__name__}")
        self.ready.set()

    def add(self, envelope):
        namespace, a, b = self.read(envelope)
        return self.answer(namespace, a + b)

    def divide(self, envelope):
        namespace, a, b = self.read(envelope)
        if b == 0:
            raise ApplicationError("com.example.divided_by_zero", "Nothing can be divided by <zero>.")
        return self.answer(namespace, a // b)

    async def sleep(self, envelope):
        await asyncio.sleep(DEADLINE_S)

    def onUserError(self, fail, msg):
        pass  # it is the cases that say what is right

    @staticmethod
    def read(envelope):
        root = etree.fromstring(envelope.encode())
        a, b = (int(number.text) for number in root.iter(f"{{{SERVICE}}}a", f"{{{SERVICE}}}b"))
        return etree.QName(root).namespace, a, b

    @staticmethod
    def answer(namespace, number):
        return (f'<e:Envelope xmlns:e="{namespace}"><e:Body><result xmlns="{SERVICE}">{number}</result></e:Body>'
                "</e:Envelope>")


class CalleeThread(threading.Thread):
    """A callee on a loop of its own."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.ready, self.loop = url, threading.Event(), asyncio.new_event_loop()

    def run(self):
        asyncio.set_event_loop(self.loop)
        factory = WampWebSocketClientFactory(lambda: Callee(self.ready), url=f"{self.url}/wamp", serializers=[JsonSerializer()])
        host, port = self.url.removeprefix("ws://").split(":")
        self.loop.run_until_complete(self.loop.create_connection(factory, host, int(port)))
        self.loop.run_forever()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(DEADLINE_S)


class WebSocketTransport(zeep.Transport):
    """zeep's messages over one WebSocket: each call sends an envelope and awaits one."""

    def __init__(self, url, content_type, binary=False):
        super().__init__()
        self.socket = connect(url, content_type)
        self.send = self.socket.send_binary if binary else self.socket.send
        self.expects_answer = True

    def post_xml(self, address, envelope, headers):
        self.send(etree.tostring(envelope, xml_declaration=True, encoding="utf-8"))
        response = requests.Response()
        if not self.expects_answer:
            response.status_code, response._content = 202, b""
            return response
        answer = self.socket.recv()
        response.status_code = 200
        response._content = answer if isinstance(answer, bytes) else answer.encode()
        response.headers["Content-Type"] = "text/xml"
        self.last = response._content
        return response


def connect(url, content_type=None, protocol="soap"):
    header = [f"soap-content-type: {content_type}"] if content_type else []
    return websocket.create_connection(url, timeout=DEADLINE_S, subprotocols=[protocol], header=header)


class Stock(unittest.TestCase):
    url = None  # of the daemon

    def client(self, port, path="/calculator", plugins=None, binary=False):
        transport = WebSocketTransport(f"{self.url}{path}", CONTENT_TYPES[port], binary)
        self.addCleanup(transport.socket.close)
        plugins = [WsAddressingPlugin()] if plugins is None else plugins
        client = zeep.Client(str(HERE / "calculator.wsdl"), port_name=port, transport=transport, plugins=plugins)
        return client, transport

    def test_an_operation_is_answered(self):
        for port in CONTENT_TYPES:
            for binary in (False, True):
                with self.subTest(port=port, binary=binary):
                    client, transport = self.client(port, binary=binary)
                    self.assertEqual(client.service.add(a=2, b=40), 42)
                    self.assertEqual(client.service.divide(a=7, b=2), 3)
                    relates = etree.fromstring(transport.last).findall(f".//{{{WSA}}}RelatesTo")
                    self.assertEqual(len(relates), 1)

    def test_an_error_is_a_fault(self):
        for port, code in {"soap11": "env:Server", "soap12": "env:Receiver"}.items():
            with self.subTest(port=port):
                client, _ = self.client(port)
                with self.assertRaises(zeep.exceptions.Fault) as raised:
                    client.service.divide(a=1, b=0)
                fault = raised.exception
                self.assertEqual((fault.message, fault.code), ("Nothing can be divided by <zero>.", code))
                name = fault.detail.find("{urn:roost:soap}error")
                self.assertEqual(name.text, "com.example.divided_by_zero")
                self.assertEqual(client.service.add(a=1, b=1), 2, "the connection goes on")

    def test_no_such_service_is_a_fault(self):
        client, _ = self.client("soap12")
        with self.assertRaises(zeep.exceptions.Fault) as raised:
            client.service.unknown(a=1, b=0)
        self.assertEqual(raised.exception.code, "env:Sender")
        self.assertEqual([code.localname for code in raised.exception.subcodes], ["ActionNotSupported"])
        client, _ = self.client("soap11")
        with self.assertRaises(zeep.exceptions.Fault) as raised:
            client.service.unknown(a=1, b=0)
        self.assertEqual(raised.exception.code, "wsa:ActionNotSupported")

    def test_no_answer_in_time_is_a_fault(self):
        client, _ = self.client("soap12")
        with self.assertRaises(zeep.exceptions.Fault) as raised:
            client.service.sleep(a=1, b=0)
        self.assertEqual(raised.exception.code, "env:Receiver")
        self.assertIn("in time", raised.exception.message)

    def test_a_one_way_operation_is_published(self):
        channel = "urn:example:notes"
        subscriber = connect(f"{self.url}/soap/{channel}", CONTENT_TYPES["soap12"])
        raw = connect(f"{self.url}/raw/{channel}", protocol="roost.raw")
        self.addCleanup(subscriber.close)
        self.addCleanup(raw.close)
        # zeep's plugin would add a MessageID, which makes it a request.
        client, transport = self.client("soap12", plugins=[])
        transport.expects_answer = False
        to = etree.Element(f"{{{WSA}}}To")
        to.text = channel
        client.service.note("Grüße, <你好>", _soapheaders=[to])
        for socket in (subscriber, raw):
            note = etree.fromstring(socket.recv().encode()).find(f".//{{{SERVICE}}}note")
            self.assertEqual(note.text, "Grüße, <你好>")

    def test_what_datacores_driver_writes_is_answered(self):
        socket = connect(f"{self.url}/StorageServices", "text/xml")
        self.addCleanup(socket.close)
        self.assertEqual(socket.getheaders()["soap-content-type"], "text/xml; charset=utf-8")
        socket.send(
            f'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:ns0="{SERVICE}" xmlns:ns1="{V11}" '
            f'xmlns:wsa="{WSA}" xmlns:SOAP-ENV="{V11}"><SOAP-ENV:Header>'
            f'<wsa:Action SOAP-ENV:mustUnderstand="true">{SERVICE}:add</wsa:Action>'
            f'<wsa:To SOAP-ENV:mustUnderstand="true">{WSA}/anonymous</wsa:To>'
            "<wsa:MessageID>urn:uuid:6f0e</wsa:MessageID>"
            f"<wsa:ReplyTo><wsa:Address>{WSA}/anonymous</wsa:Address></wsa:ReplyTo></SOAP-ENV:Header>"
            "<ns1:Body><ns0:add><ns0:a>20</ns0:a><ns0:b>3</ns0:b></ns0:add></ns1:Body></SOAP-ENV:Envelope>"
        )
        answer = etree.fromstring(socket.recv().encode())
        self.assertEqual(answer.find(f".//{{{SERVICE}}}result").text, "23")
        self.assertEqual(answer.find(f".//{{{WSA}}}RelatesTo").text, "urn:uuid:6f0e")

    def test_binary_encodings_are_refused(self):
        header = ["soap-content-type: application/soap+msbinsession1", "microsoft-binary-transfer-mode: Buffered"]
        with self.assertRaises(websocket.WebSocketBadStatusException) as raised:
            websocket.create_connection(f"{self.url}/calculator", timeout=DEADLINE_S, subprotocols=["soap"], header=header)
        self.assertEqual(raised.exception.status_code, 400)
        self.assertIn("application/soap+xml", raised.exception.resp_headers["soap-content-type"])


def run(driver):
    print(f"driver {driver}", flush=True)
    with tempfile.TemporaryDirectory(prefix="roost-soap-") as work:
        with Daemon(pathlib.Path(work), driver) as daemon:
            callee = CalleeThread(daemon.url)
            callee.start()
            if not callee.ready.wait(DEADLINE_S):
                raise RuntimeError("the callee did not register")
            Stock.url = daemon.url
            suite = unittest.defaultTestLoader.loadTestsFromTestCase(Stock)
            result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
            callee.stop()
        if daemon.status != 0:
            print(f"the daemon ended with {daemon.status}:\n{daemon.said()}")
        return result.wasSuccessful() and result.testsRun > 0 and daemon.status == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", choices=["epoll", "io_uring"])
    asked = parser.parse_args().driver
    drivers = [asked] if asked else ["epoll", "io_uring"]
    sys.exit(0 if all([run(driver) for driver in drivers]) else 1)


if __name__ == "__main__":
    main()
