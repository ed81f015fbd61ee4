"""Measures a server under load: requests per second, latency and memory.

It starts one server per set of options, and asks them in turns, so that what slows the machine down
slows all of them down:

    python benchmarks/serving.py --ckpt_path best --options=--batch_size=32 --options=--batch_size=1

A server that runs already is measured alone, here with its memory before and after the requests:

    python benchmarks/serving.py --port 8000 --pid PID

The client is wrk if it is installed (apt-get install wrk), and otherwise a slower one in Python.
Client and servers are on this machine, so they share its cores.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WORDS = ("the", "plot", "was", "not", "dull", "but", "charming", "and", "the", "cast", "is", "good")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class Server(NamedTuple):
    """A server, and the process whose memory is read; None if it is unknown."""

    name: str
    port: int
    pid: int | None


class Load(NamedTuple):
    """What a client measured: requests per second, and the latency in ms."""

    rate: float
    p50: float
    p99: float
    failed: int
    answered: int


def main() -> None:
    """Prints a table of the requests per second and the latency, and the memory of each server."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--ckpt_path", help="checkpoint that the started servers load")
    parser.add_argument("--options", action="append", help="options of a started server, as one "
                        "text; repeat it for several servers (default: none)")  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="port of a running server, without "
                        "--ckpt_path")  # fmt: skip
    parser.add_argument("--pid", type=int, help="process of that server, to read its memory")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64, 500],
                        help="numbers of connections, each with one request at a time")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of a run, in seconds")
    parser.add_argument("--rounds", type=int, default=3, help="runs, of which the median is shown")
    parser.add_argument("--requests", type=int, default=10_000, help="number of requests between "
                        "the two readings of the memory")  # fmt: skip
    parser.add_argument("--words", type=int, default=20, help="number of words of each text")
    parser.add_argument("--client", choices=["wrk", "python"], default="wrk" if shutil.which("wrk")
                        else "python", help="program that asks (default: %(default)s)")  # fmt: skip
    options = parser.parse_args()
    body = _body(options.words)
    with ExitStack() as stack:
        servers = [Server("running", options.port, options.pid)]
        if options.ckpt_path:
            servers = [
                stack.enter_context(_started(options.ckpt_path, words.split()))
                for words in options.options or [""]
            ]
        measure = _wrk if options.client == "wrk" else python_client
        for server in servers:  # the first requests build what later ones share
            python_client(server.port, body, 8, 1.0)
        print("| connections | server | requests per second | p50, ms | p99, ms | refused |")
        print("|---|---|---|---|---|---|")
        for count in options.connections:
            rounds = [
                [measure(server.port, body, count, options.seconds) for server in servers]
                for _ in range(options.rounds)
            ]
            for server, loads in zip(servers, zip(*rounds, strict=True), strict=True):
                rate, p50, p99 = (statistics.median(one[i] for one in loads) for i in range(3))
                failed = sum(one.failed for one in loads)
                print(
                    f"| {count} | {server.name} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {failed} |"
                )
        for server in servers:
            before = memory(server.pid)
            load = python_client(server.port, body, 64, 300.0, options.requests)
            after, count = memory(server.pid), load.answered
            print(f"{server.name}: {before:.1f} MB, {after:.1f} MB after {count} more requests")


@contextmanager
def _started(path: str, options: list[str]) -> Iterator[Server]:
    """Gives a server that has loaded a checkpoint."""
    words = [sys.executable, str(ROOT / "train.py"), "serve", f"--ckpt_path={path}", "--port=0"]
    with subprocess.Popen([*words, *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.match(r"serving at http://.*:(\d+),", line):
                    break
            else:
                sys.exit("".join(lines))
            yield Server(" ".join(options) or "defaults", int(found[1]), process.pid)
        finally:
            process.terminate()


def _body(words: int) -> bytes:
    text = " ".join(WORDS[i * 7 % len(WORDS)] for i in range(words))
    return json.dumps({"inputs": [text]}).encode()


def _wrk(port: int, body: bytes, connections: int, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            f"wrk.body = [==[{body.decode()}]==]\n"
        )
        script.flush()
        command = [
            "wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds:.0f}s",
            "--timeout=60s", "--latency", f"--script={script.name}",
            f"http://127.0.0.1:{port}/v1/predict",
        ]  # fmt: skip
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    answered = re.search(r"(\d+) requests in", said)
    assert rate is not None
    assert answered is not None
    times = {}
    for percent, number, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)\s*$", said, re.M):
        times[percent] = float(number) * _UNITS[unit]
    return Load(
        float(rate[1]), times["50"], times["99"], int(failed[1]) if failed else 0, int(answered[1])
    )


def python_client(
    port: int, body: bytes, connections: int, seconds: float, requests: int | None = None
) -> Load:
    """Asks with asyncio.

    Args:
        port: Port of the server on this machine.
        body: Body of each request.
        connections: Number of connections.
        seconds: Duration, in seconds; a request that has begun is finished.
        requests: Number of requests; None for no limit.
    """
    start = time.perf_counter()
    failed, times = asyncio.run(_ask(port, body, connections, start + seconds, requests))
    rate = len(times) / (time.perf_counter() - start)
    return Load(rate, 1000 * _quantile(times, 50), 1000 * _quantile(times, 99), failed, len(times))


async def _ask(
    port: int, body: bytes, connections: int, end: float, requests: int | None
) -> tuple[int, list[float]]:
    times: list[float] = []
    failed = 0
    left = iter(range(requests if requests is not None else sys.maxsize))
    request = (
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
        b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            start = time.perf_counter()
            if start > end:
                break
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - start)
            failed += head.split()[1] != b"200"
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(connections)))
    return failed, times


def _quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def memory(pid: int | None) -> float:
    """Returns the resident memory of a process in MB; NaN if it is unknown."""
    if pid is None:
        return float("nan")
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return float("nan")


if __name__ == "__main__":
    main()
