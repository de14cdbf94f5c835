#!/usr/bin/env python3
"""What a publication over the HTTP API costs: CPU of the daemon for each, beside a bare axum server that
answers 204, and for each line of POST /v1/publications.

    scripts/api_cost.py target/release/roostd target/release/examples/bare_axum
    scripts/api_cost.py target/release/roostd target/release/examples/bare_axum OTHER_ROOSTD...
    scripts/api_cost.py --instructions target/release/roostd target/release/examples/bare_axum OTHER_ROOSTD...

A program of one process sends on 32 connections, one request on each at a time, to a daemon with one reactor
and no subscriber. CPU is what the scheduler has counted for the threads of the server's process. Rounds
alternate, of all daemons where there are several; the median of each is shown. Quote the ratios: they compare
within one run.

With --instructions the programs run under callgrind, which counts what they execute outside of the kernel for
each single request (on epoll): exact to a per cent, however busy the machine is. Needs valgrind.
"""

import re
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONNECTIONS, REQUESTS, LINES, ROUNDS = 32, 40_000, 400_000, 7
BODY = b'{"channel":"order:17","data":{"state":"paid","total":12.5}}'


def cpu_seconds(pid):
    """Of all threads, which live as long as the process. /proc/PID/stat counts in hundredths of a second."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def head(path, key, content_type, length):
    return (f"POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n").encode()


def answered(data):
    """Whether it is a whole answer of a status of success."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    assert data.startswith(b"HTTP/1.1 20"), data[:300]
    length = re.search(rb"content-length: (\d+)", data[:end].lower())
    return len(data) == end + 4 + (int(length[1]) if length else 0)


def single(address, key, requests=REQUESTS):
    sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]
    request = head("/v1/publish", key, "application/json", len(BODY)) + BODY
    for _ in range(requests // CONNECTIONS):
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            data = b""
            while not answered(data):
                data += one.recv(65536)
    for one in sockets:
        one.close()


def lines(address, key):
    body = (BODY + b"\n") * 1000
    with socket.create_connection(address) as one:
        one.sendall(head("/v1/publications", key, "application/x-ndjson", len(body) * (LINES // 1000)))
        results, rest = 0, b""
        for _ in range(LINES // 1000):
            one.sendall(body)
            while results < 1000:
                data = one.recv(1 << 20)
                assert data, "it has ended"
                results += data.count(b'"line":')
            results -= 1000


def measure(pid, work, count, *arguments):
    before = cpu_seconds(pid)
    work(*arguments)
    return count / (cpu_seconds(pid) - before)


def start(roostd, before=(), behind=()):
    """A daemon; its process, its API's address, and its key."""
    daemon = subprocess.Popen([*before, roostd, "run", "--listen", "127.0.0.1:0", "--reactors", "1",
                               "--set", 'api.listen=["127.0.0.1:0"]', "--set", "log.level=warn", *behind],
                              stdout=subprocess.PIPE, text=True)
    said = ""
    while "--json" not in said:
        line = daemon.stdout.readline()
        assert line, f"{roostd} has ended:\n{said}"
        said += line
    host, port, key = re.search(r'http://([\d.]+):(\d+)/v1/publish -H "Authorization: Bearer (\S+)"', said).groups()
    return daemon, (host, int(port)), key


def start_bare(bare, before=()):
    """The bare server: its process, and its address."""
    axum = subprocess.Popen([*before, bare], stdout=subprocess.PIPE, text=True)
    host, port = axum.stdout.readline().strip().split(":")
    return axum, (host, int(port))


def instructions(program, is_bare, requests):
    """What a program has executed when it has answered so many requests and was told to end."""
    with tempfile.NamedTemporaryFile() as out:
        valgrind = ["valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={out.name}"]
        if is_bare:
            process, address = start_bare(program, valgrind)
            key = "none"
        else:
            process, address, key = start(program, valgrind, ["--set", "server.driver=epoll"])
        single(address, key, requests)
        process.terminate()
        process.wait(60)
        return int(re.search(r"^(?:summary|totals): (\d+)", Path(out.name).read_text(), re.M)[1])


def count_instructions(bare, roostds):
    few, many = 30 * CONNECTIONS, 90 * CONNECTIONS
    print("| | instructions for a request | ratio |\n|---|--:|--:|")
    base = None
    for program, is_bare in [(bare, True), *((roostd, False) for roostd in roostds)]:
        counts = [instructions(program, is_bare, requests) for requests in (few, many)]
        each = (counts[1] - counts[0]) / (many - few)
        base = base or each
        print(f"| {program} | {each:,.0f} | {each / base:.2f} × bare axum |", flush=True)


def main():
    if sys.argv[1] == "--instructions":
        _, _, roostd, bare, *others = sys.argv
        return count_instructions(bare, [roostd, *others])
    roostd, bare, *others = sys.argv[1:]
    processes = []
    try:
        axum, other = start_bare(bare)
        processes.append(axum)
        found, daemons = {"bare": []}, {}
        for path in [roostd, *others]:
            daemons[path] = start(path)
            processes.append(daemons[path][0])
            found[path] = ([], [])
        for _ in range(ROUNDS):
            found["bare"].append(measure(axum.pid, single, REQUESTS, other, "none"))
            for path, (daemon, api, key) in daemons.items():
                found[path][0].append(measure(daemon.pid, single, REQUESTS, api, key))
                found[path][1].append(measure(daemon.pid, lines, LINES, api, key))
        bare = statistics.median(found["bare"])
        print("| | per second of CPU | ratio |\n|---|--:|--:|")
        print(f"| bare axum, 204 | {bare:,.0f} | |")
        for path in daemons:
            of = f" of {path}" if others else ""
            one, line = (statistics.median(rates) for rates in found[path])
            print(f"| `POST /v1/publish`{of} | {one:,.0f} | {one / bare:.2f} of bare axum |")
            print(f"| lines of `POST /v1/publications`{of} | {line:,.0f} | {line / one:.1f} × single |")
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
