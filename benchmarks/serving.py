"""Measures a running server: requests per second, latency and memory.

Start the server first, for example:

    python train.py serve --ckpt_path=best --port=8000
    python benchmarks/serving.py --port 8000 --requests 10000 --clients 64 --pid PID
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

WORDS = ("the", "plot", "was", "not", "dull", "but", "charming", "and", "the", "cast", "is", "good")


def main() -> None:
    """Prints the requests per second, the latency, and the memory of the server."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8000, help="port of the server")
    parser.add_argument("--requests", type=int, default=10_000, help="number of requests")
    parser.add_argument("--clients", type=int, default=64, help="number of connections")
    parser.add_argument("--words", type=int, default=20, help="number of words of each text")
    parser.add_argument("--pid", type=int, help="process of the server, to read its memory")
    options = parser.parse_args()
    before = _memory(options.pid)
    start = time.perf_counter()
    statuses, seconds = asyncio.run(_ask(options))
    took = time.perf_counter() - start
    print(f"{len(seconds)} requests, {options.clients} connections: {dict(statuses)}")
    print(f"{len(seconds) / took:.0f} requests per second")
    for share in (50, 90, 99, 100):
        print(f"p{share}: {1000 * _quantile(seconds, share):.1f} ms")
    print(f"memory of the server: {before:.1f} MB before, {_memory(options.pid):.1f} MB after")


async def _ask(options: argparse.Namespace) -> tuple[Counter[int], list[float]]:
    statuses: Counter[int] = Counter()
    seconds: list[float] = []
    left = iter(range(options.requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
        for i in left:
            words = [WORDS[(i + j * 7) % len(WORDS)] for j in range(options.words)]
            body = json.dumps({"inputs": [" ".join(words)]}).encode()
            start = time.perf_counter()
            writer.write(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - start)
            statuses[int(head.split()[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(options.clients)))
    return statuses, seconds


def _quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def _memory(pid: int | None) -> float:
    """Returns the resident memory of a process in MB; NaN if it is unknown."""
    if pid is None:
        return float("nan")
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return float("nan")


if __name__ == "__main__":
    main()
