"""Measures the streaming of a speech recognizer.

    python benchmarks/streaming.py fsdd --root FOLDER --ckpt_path FILE

The program decodes the test recordings of a checkpoint on one core, as whole files and in pieces of
random sizes. It counts the transcripts that differ and times both. Pieces of 100 ms measure the
latency.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from srulight.checkpoint import load
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus
from srulight.tasks.speech_recognition.corpora.fsdd import FSDD
from srulight.tasks.speech_recognition.corpora.yesno import YesNo
from srulight.tasks.speech_recognition.task import SpeechRecognition

CORPORA: dict[str, SpeechCorpus] = {"fsdd": FSDD(), "yesno": YesNo()}


def in_pieces(
    task: SpeechRecognition, samples: Tensor, size: Callable[[], int]
) -> tuple[str, list[float]]:
    """Transcribes piece by piece. Returns the text and the seconds that each piece took."""
    recognizer, seconds = task.listen(), []
    while len(samples):
        piece, samples = samples.split([n := min(size(), len(samples)), len(samples) - n])
        start = time.perf_counter()
        recognizer.accept(piece)
        recognizer.stable_tokens()
        seconds.append(time.perf_counter() - start)
    return task.text(token.index for token in recognizer.finish()), seconds


def stream(args: argparse.Namespace) -> None:
    """Compares whole recordings with pieces, and times both."""
    torch.set_num_threads(1)
    task = load(args.ckpt_path)
    assert isinstance(task, SpeechRecognition)
    task.decode_with(beam_size=args.beam_size)
    test = CORPORA[args.setting].read(args.root).test
    rate = task.listen().sample_rate
    generator = torch.Generator().manual_seed(0)
    differ, total, whole, parts = 0, 0.0, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        for utterance in test:
            samples = task.frontend.samples(utterance.audio, utterance.pause)
            soundfile.write(path, samples.numpy(), rate, subtype="FLOAT")
            start = time.perf_counter()
            text = task.predict([str(path)])[0].text
            whole += time.perf_counter() - start
            for largest in (100, 1000, 8000):

                def size(largest: int = largest) -> int:
                    return int(torch.randint(1, largest, (), generator=generator))

                differ += text != in_pieces(task, samples, size)[0]
            parts += in_pieces(task, samples, lambda: rate // 10)[1]
            total += len(samples) / rate
    slow = statistics.quantiles(parts, n=100)[98]
    print(
        f"{len(test)} recordings, {total:.0f} s in total, in pieces of up to 100, 1000 and 8000 "
        f"samples: {differ} of {3 * len(test)} transcripts differ from those of whole files\n"
        f"real-time factor on one core: {whole / total:.5f} for whole files, including reading; "
        f"{sum(parts) / total:.5f} for pieces of 100 ms\n"
        f"time per piece of 100 ms: median {1e3 * statistics.median(parts):.2f} ms, "
        f"99th percentile {1e3 * slow:.2f} ms\n"
        f"a step is complete after {1e3 * task.listen().delay:.0f} ms of audio"
    )


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("setting", choices=CORPORA, help="corpus")
    parser.add_argument("--root", type=Path, required=True, help="folder with the data")
    parser.add_argument("--ckpt_path", required=True, help="checkpoint with a causal encoder")
    parser.add_argument("--beam_size", type=int, default=1, help="beam size; 1 decodes greedily")
    stream(parser.parse_args())


if __name__ == "__main__":
    main()
