"""Speech recognition: recordings, and streams of audio."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from srulight.serving.fields import check_names, parse
from srulight.serving.limits import Limits, RequestError
from srulight.serving.services.base import Service, Stream, plain
from srulight.tasks.speech_recognition import SpeechRecognition
from srulight.tasks.speech_recognition.frontend.audio import audio_blocks
from srulight.tasks.speech_recognition.transcript import Transcript

_BLOCK = 1.0  # Duration of the audio that is decoded at a time to measure a file, in seconds.


class SpeechService(Service):
    """Answers with the text of a recording, its duration, and its tokens with their times."""

    kind: ClassVar = "recording"
    has_streams: ClassVar = True
    # libsndfile recognizes the format by the content.
    files: ClassVar = {
        "audio/wav": ".wav", "audio/x-wav": ".wav", "audio/wave": ".wav", "audio/vnd.wave": ".wav",
        "audio/flac": ".flac", "audio/x-flac": ".flac", "audio/ogg": ".ogg", "audio/mpeg": ".mp3",
        "application/octet-stream": ".wav",
    }  # fmt: skip

    @property
    def input_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}

    @property
    def facts(self) -> dict[str, Any]:
        bank = self.task.frontend.filter_bank
        return {
            **super().facts, "sample_rate": None if bank is None else bank.sample_rate,
            "streams": bank is not None and self.task.is_online,
        }  # fmt: skip

    def read_input(self, value: Any, name: str) -> Any:  # noqa: ANN401
        raise RequestError(415, "expected a recording, such as audio/wav or audio/flac, got JSON")

    def check_file(self, path: Path) -> None:
        bank, seconds = self.task.frontend.filter_bank, 0.0
        if bank is None:
            raise RequestError(
                422, "expected a model that was trained on audio, got one that was trained on "
                "frames (.npy); use predict",
            )  # fmt: skip
        for block in audio_blocks(path, bank.sample_rate, self.task.frontend.channels, _BLOCK):
            seconds += len(block) / bank.sample_rate
            if seconds > self.limits.max_seconds:
                raise RequestError(
                    413, f"a recording must have at most {self.limits.max_seconds:g} seconds, got "
                    "more; divide it, or send a stream",
                )  # fmt: skip

    def answer(self, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        return [_row(one) for one in self.task.predict(inputs, max(1, len(inputs)))]

    def stream(self) -> Stream:
        return _SpeechStream(self.task, self.limits)


def _row(transcript: Transcript) -> dict[str, Any]:
    row: dict[str, Any] = plain(transcript)
    return {**row, "seconds": round(transcript.seconds, 3)}


class _SpeechStream(Stream):
    """Transcribes audio while it arrives.

    A binary message is 16-bit little-endian mono PCM at the sample rate of the model. The text
    message ``{"end": true}`` asks for the whole transcript.
    """

    def __init__(self, task: SpeechRecognition, limits: Limits) -> None:
        self._task = task
        self._limits = limits
        self._recognizer = task.listen()
        self._samples = 0

    @property
    def greeting(self) -> dict[str, Any]:
        return {"sample_rate": self._recognizer.sample_rate, "delay": self._recognizer.delay}

    def accept(self, message: bytes | str) -> dict[str, Any]:
        if isinstance(message, str):
            body = parse(message.encode("utf-8", "replace"))
            check_names(body, ["end"])
            if not body.get("end"):
                raise RequestError(422, 'expected {"end": true}, or audio in a binary message')
            tokens = self._recognizer.finish()
            text, spoken = self._text(tokens), plain(self._task.timestamps(tokens))
            return {"text": text, "tokens": spoken, "final": True}
        if len(message) % 2:
            raise RequestError(422, "expected 16-bit PCM, got an odd number of bytes")
        rate, count = self._recognizer.sample_rate, len(message) // 2
        self._check_length(count, self._limits.max_seconds * rate, "message")
        self._check_length(self._samples + count, self._limits.max_stream_seconds * rate, "stream")
        samples = np.frombuffer(message, dtype="<i2").astype(np.float32) / 32768
        self._recognizer.accept(samples)
        self._samples += count
        return {"text": self._text(self._recognizer.stable_tokens())}

    def _text(self, tokens: Any) -> str:  # noqa: ANN401
        return self._task.text(token.index for token in tokens)

    def _check_length(self, samples: int, most: float, what: str) -> None:
        if samples > most:
            seconds = most / self._recognizer.sample_rate
            raise RequestError(
                413, f"a {what} must have at most {seconds:g} seconds of audio, got more"
            )
