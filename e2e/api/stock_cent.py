#!/usr/bin/env python3
"""Centrifugo's stock client for Python (PyPI cent 5.x) against a daemon: what it publishes arrives.

    stock_cent.py ROOSTD        needs cent>=5,<6 and websockets
"""

import asyncio
import re
import subprocess
import sys

import websockets
from cent import (AsyncClient, BatchRequest, BroadcastRequest, CentApiResponseError, CentUnauthorizedError,
                  ChannelsRequest, Client, Disconnect, DisconnectRequest, HistoryRemoveRequest, HistoryRequest,
                  InfoRequest, PresenceRequest, PresenceStatsRequest, PublishRequest, RefreshRequest, StreamPosition, UnsubscribeRequest)


def start(binary, *arguments):
    """The daemon on free ports; its address, its API's, and the key that it prints."""
    daemon = subprocess.Popen([binary, "run", "--listen", "127.0.0.1:0", "--set", 'api.listen=["127.0.0.1:0"]',
                               *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = ""
    while "--json" not in said:
        line = daemon.stdout.readline()
        if not line:
            raise SystemExit(f"the daemon ended at its start:\n{said}")
        said += line
    address = re.search(r"^  address +(\S+)", said, re.M)[1]
    api, key = re.search(r'curl (\S+)/v1/publish -H "Authorization: Bearer (\S+)"', said).groups()
    return daemon, address, api, key


def check_history(client, first):
    """What `check` has published on c, of which the first was at that position."""
    kept = client.history(HistoryRequest(channel="c", limit=100))
    assert kept.epoch == first.epoch and kept.offset == first.offset + 3
    assert [one.data for one in kept.publications] == [{"a": 1}, "text", 7, 8]
    assert [one.offset for one in kept.publications] == [first.offset + n for n in range(4)]
    newest = client.history(HistoryRequest(channel="c", limit=1, reverse=True))
    assert [one.data for one in newest.publications] == [8]
    since = StreamPosition(offset=first.offset + 1, epoch=first.epoch)
    behind = client.history(HistoryRequest(channel="c", limit=100, since=since))
    assert [one.data for one in behind.publications] == [7, 8]
    client.history_remove(HistoryRemoveRequest(channel="c"))
    gone = client.history(HistoryRequest(channel="c", limit=100))
    assert gone.publications == [] and gone.offset == kept.offset
    try:
        client.history(HistoryRequest(channel="c", limit=100, since=since))
        raise AssertionError("what is gone is not told")
    except CentApiResponseError as error:
        assert error.code == 112


def check_presence(client):
    """One raw client, without a user, is on c."""
    present = client.presence(PresenceRequest(channel="c")).presence
    (name, info), = present.items()
    assert info.client == name and info.user == ""
    stats = client.presence_stats(PresenceStatsRequest(channel="c"))
    assert (stats.num_clients, stats.num_users) == (1, 1)
    assert client.presence(PresenceRequest(channel="other")).presence == {}


async def check(address, api, key):
    client = Client(f"{api}/api", key)
    async with websockets.connect(f"ws://{address}/raw/c") as socket:
        async def hears(text):
            assert await asyncio.wait_for(socket.recv(), 30) == text

        first = client.publish(PublishRequest(channel="c", data={"a": 1}, idempotency_key="k"))
        assert first.offset > 0 and first.epoch
        await hears('{"a": 1}')
        assert client.publish(PublishRequest(channel="c", data={"a": 2}, idempotency_key="k")) == first
        many = client.broadcast(BroadcastRequest(channels=["c", "d"], data="text"))
        assert [one.error for one in many.responses] == [None, None]
        await hears("text")
        other = AsyncClient(f"{api}/api", key)
        batch = await other.batch(BatchRequest(requests=[PublishRequest(channel="c", data=n) for n in (7, 8)]))
        await other._session.close()
        assert len(batch.replies) == 2
        await hears("7")
        await hears("8")
        node = client.info(InfoRequest()).nodes[0]
        assert node.num_clients == 1 and node.num_channels == 2  # d, which keeps what was published
        channels = client.channels(ChannelsRequest(pattern="c*")).channels
        assert {name: one.num_clients for name, one in channels.items()} == {"c": 1}, channels
        assert not client.channels(ChannelsRequest(pattern="x*")).channels
        # As cent's own tests ask.
        client.disconnect(DisconnectRequest(user="user", disconnect=Disconnect(code=4000, reason="reason")))
        client.unsubscribe(UnsubscribeRequest(user="user", channel="c", session="session", client="client"))
        client.refresh(RefreshRequest(user="user", session="session", client="client", expire_at=1))
        check_history(client, first)
        check_presence(client)
        try:
            Client(f"{api}/api", "another key").info(InfoRequest())
            raise AssertionError("another key is taken")
        except CentUnauthorizedError:
            pass


def check_unknown(api, key):
    """What Centrifugo answers for a namespace that it does not know."""
    client = Client(f"{api}/api", key)
    try:
        client.publish(PublishRequest(channel="undefined:channel", data={"data": "data"}))
        raise AssertionError("a channel of no namespace is published on")
    except CentApiResponseError as error:
        assert error.code == 102 and "unknown channel" in str(error), error
    many = client.broadcast(BroadcastRequest(channels=["undefined:channel", "c"], data="text"))
    assert [one.error and one.error.code for one in many.responses] == [102, None]


def main():
    daemon, address, api, key = start(sys.argv[1], "--set", "channels.history_messages_max=5",
                                       "--set", "channels.presence=\"members\"")
    try:
        asyncio.run(check(address, api, key))
    finally:
        daemon.terminate()
        daemon.wait(30)
    daemon, _, api, key = start(sys.argv[1], "--set", "api.strict_namespaces=true")
    try:
        check_unknown(api, key)
    finally:
        daemon.terminate()
        daemon.wait(30)
    print("cent publishes, broadcasts, batches and asks: all as it expects")


if __name__ == "__main__":
    main()
