"""Measures whether the memory of video prediction grows with the length of a video.

    python benchmarks/video_memory.py                      the table, about six minutes
    python benchmarks/video_memory.py --frames 1000 4000   other lengths

Needs PyAV. For each length, it writes a video of 320 x 240 pixels, and runs three commands, each in
a process of its own:
    predict   ``predict`` on the video, with a model that was trained for one batch
    decode    ``fit`` for one epoch, on clips that are cut from the video, which it decodes
    fit       the same again, with the frames in the cache

The model is that of configs/video.yaml, which reads frames of 32 x 32 pixels. The columns are the
largest resident memory of the process in MB ("peak", which Linux counts as ru_maxrss), and the
largest part of it that the process has allocated ("own", measured every 5 ms). The rest are pages
of files, which the system takes back when it needs memory.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from srulight.bench.tables import Recorder, Row

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 320, 240
CLIP = 40  # Frames per clip.
LABELS = ("left", "top")


class Peak(NamedTuple):
    """Largest memory of a process, in MB."""

    resident: float
    own: float


def write_data(folder: Path, frames: int) -> None:
    """Writes a video of a square that moves, and tables of clips and of labels per frame."""
    with av.open(str(folder / "video.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        with (folder / "labels.csv").open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(["frame", *LABELS])
            for index in range(frames):
                x, y = 7 * index % (WIDTH - 40), 5 * index % (HEIGHT - 40)
                pixels = np.full((HEIGHT, WIDTH, 3), 60, dtype=np.uint8)
                pixels[y : y + 40, x : x + 40] = 200
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                writer.writerow([index, int(x < WIDTH // 2 - 20), int(y < HEIGHT // 2 - 20)])
        file.mux(stream.encode())
    with (folder / "clips.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "first_frame", "last_frame", "labels", "part"])
        for i, first in enumerate(range(0, frames, CLIP)):
            part = "val" if i % 5 == 3 or first + 2 * CLIP > frames else "train"
            last = min(first + CLIP, frames) - 1
            writer.writerow(["video.mp4", first, last, "labels.csv", part])


def measure(folder: Path, *options: str) -> Peak:
    """Runs train.py in a process of its own, and follows its memory."""
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *options], stdout=output, stderr=output
        )
    own = 0
    status = Path(f"/proc/{process.pid}/status")
    while True:
        # Not the wait of subprocess, which does not say how much memory the process has used.
        ended, code, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        lines = status.read_text().splitlines()
        own = max(own, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
        time.sleep(0.005)
    if code:
        sys.exit((folder / "output.txt").read_text())
    return Peak(usage.ru_maxrss / 1e3, own / 1e3)


def row(folder: Path, frames: int, checkpoint: Path) -> Row:
    """Returns the row of a length."""
    folder.mkdir()
    write_data(folder, frames)
    predict = measure(
        folder, "predict", f"--ckpt_path={checkpoint}", f"--input={folder / 'video.mp4'}",
        f"--output={folder / 'answers.csv'}",
    )  # fmt: skip
    training = [
        "fit", f"--config={ROOT / 'configs' / 'video.yaml'}", f"--data.root={folder}",
        "--data.corpus=VideoTables", "--data.corpus.part=part", "--data.corpus.kind=labels",
        f"--data.corpus.targets=[{','.join(LABELS)}]", "--data.corpus.per=frame",
        f"--trainer.default_root_dir={folder / 'runs'}", "--trainer.max_epochs=1",
    ]  # fmt: skip
    decode, fit = measure(folder, *training), measure(folder, *training)
    return {
        "frames": f"{frames:,}", "video MB": (folder / "video.mp4").stat().st_size / 1e6,
        "predict peak MB": predict.resident, "own": predict.own,
        "decode peak MB": decode.resident, "own ": decode.own,
        "fit peak MB": fit.resident, "own  ": fit.own,
    }  # fmt: skip


def main() -> None:
    """Prints the table."""
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 2000, 8000])
    args = parser.parse_args()
    if min(args.frames) < 5 * CLIP:
        parser.error(f"--frames must be at least {5 * CLIP}, got {min(args.frames)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"SRULIGHT_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        # This also compiles the kernels, so that the compiler does not count.
        measure(
            folder, "fit", f"--config={ROOT / 'configs' / 'video.yaml'}", "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1",
            f"--trainer.default_root_dir={folder / 'runs'}",
        )  # fmt: skip
        checkpoint = next((folder / "runs").rglob("best.ckpt"))
        recorder = Recorder("video_memory")
        for frames in args.frames:
            recorder.add(row(folder / str(frames), frames, checkpoint))


if __name__ == "__main__":
    main()
