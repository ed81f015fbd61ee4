"""The server answers for each task what its ``predict`` returns."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient as Client

from srulight import SRU
from srulight.quantization import quantize
from srulight.serving.services.base import describe
from srulight.tasks.language_modeling import Sampler
from srulight.tasks.sequence_prediction.task import SequencePrediction
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.target_prediction import answer_cells
from srulight.tasks.translation.batch import END_ID
from tests.serving.servers import client
from tests.tasks.language_modeling.test_task import make as language_model
from tests.tasks.pose_estimation import models as poses
from tests.tasks.question_answering.test_task import make as reader
from tests.tasks.sequence_prediction import models as sequences
from tests.tasks.speech_recognition.test_task import make as speech
from tests.tasks.text_classification.test_task import make as classifier
from tests.tasks.translation.test_task import make as translator
from tests.tasks.video_prediction import models as videos

RATE = 8000
STREAM = "ws://localhost/v1/stream"


def ask(client: Client, **body: Any) -> Any:  # noqa: ANN401
    response = client.post("/v1/predict", json=body)
    assert response.status_code == 200, response.text
    return response.json()["answers"]


def send(client: Client, data: bytes, kind: str, **query: Any) -> Any:  # noqa: ANN401
    response = client.post(
        "/v1/predict", content=data, headers={"content-type": kind}, params=query
    )
    assert response.status_code == 200, response.text
    return response.json()["answers"]


def sound() -> torch.Tensor:
    """A second of noise whose loudness changes."""
    generator = torch.Generator().manual_seed(0)
    loud = torch.rand(20, generator=generator).repeat_interleave(RATE // 20)
    return (torch.rand(RATE, generator=generator) - 0.5) * loud


def recording() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound().numpy(), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def recognizer() -> SpeechRecognition:
    """A network that has not been trained repeats one token; scaled weights make it change them."""
    task = speech()
    with torch.no_grad():
        bank = task.frontend.filter_bank
        assert bank is not None
        frames = bank(sound()).unsqueeze(0)
        logits, _ = task(frames, torch.tensor([frames.size(1)]))
        task.head.bias.copy_(30 * (task.head.bias - logits[0].mean(0)))
        task.head.weight.mul_(30)
    return task


def test_texts_are_classified() -> None:
    task = classifier()
    texts = ["good film", "", "a bad film"]
    with client(task) as asked:
        answers = ask(asked, inputs=texts)
        every = ask(asked, inputs=texts, probabilities=True)
        about = asked.get("/v1/model").json()
    expected = task.predict(texts)
    assert [one["prediction"] for one in answers] == [one.label for one in expected]
    assert [one["probability"] for one in answers] == [round(a.probability, 4) for a in expected]
    negative = [one["probability:negative"] for one in every]
    assert negative == [round(one.probabilities[0], 4) for one in expected]
    assert about["task"] == "TextClassification"
    assert about["encoder"] == "SRU"
    assert about["labels"] == ["negative", "positive"]
    assert about["parameters"] == sum(p.numel() for p in task.parameters())


def test_the_parameters_of_a_quantized_model_are_counted() -> None:
    task = classifier(encoder=partial(SRU, hidden_size=16), embedding_size=16)
    count = describe(task)["parameters"]
    assert quantize(task)
    assert describe(task)["parameters"] == count


def test_texts_are_translated() -> None:
    task = translator()
    task.head.bias.data[END_ID] = -100  # not trained, it would end at once
    with client(task) as asked:
        (answer, empty) = ask(asked, inputs=["a b", ""], n_best=2, attention=True)
        (short,) = ask(asked, inputs=["a b"])
    (expected,) = task.predict(["a b"], n_best=2)
    assert [one["text"] for one in answer["n_best"]] == [one.text for one in expected]
    assert answer["text"] == short["text"] == expected[0].text
    assert answer["log_probability"] == pytest.approx(expected[0].log_probability, abs=1e-4)
    assert np.array(answer["attention"]) == pytest.approx(expected[0].attention.numpy(), abs=1e-4)
    assert empty["text"] == ""
    assert "attention" not in short


def test_a_language_model_scores_and_continues_texts() -> None:
    task = language_model()
    with client(task) as asked:
        (answer,) = ask(asked, inputs=["the cat sat"])
        body = {"prompt": "the", "length": 9, "seed": 3, "temperature": 0.7}
        response = asked.post("/v1/generate", json=body)
    (expected,) = task.predict(["the cat sat"])
    assert answer == {"perplexity": round(expected.perplexity, 4), "tokens": expected.tokens}
    assert response.json() == {"text": "".join(task.generate("the", 9, Sampler(0.7, seed=3)))}


def test_only_language_models_generate() -> None:
    with client(classifier()) as asked:
        assert asked.post("/v1/generate", json={}).status_code == 404


def test_questions_are_answered() -> None:
    task = reader()
    asks = {"question": "c d ?", "passage": "a b c d e f g h"}
    with client(task) as asked:
        (answer,) = ask(asked, inputs=[asks], n_best=2)
        (short,) = ask(asked, inputs=[asks])
    (expected,) = task.predict([(asks["passage"], asks["question"])], n_best=2)
    assert [one["text"] for one in answer["n_best"]] == [one.text for one in expected]
    assert short == {
        "text": expected[0].text, "start": expected[0].start,
        "probability": round(expected[0].probability, 4),
    }  # fmt: skip


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_sequences_are_predicted(per: str) -> None:
    task = sequences.make(sequences.metadata(per=per))
    given = sequences.given(5)
    columns = {name: _without_nan(values) for name, values in given.items()}
    with client(task) as asked:
        (answer,) = ask(asked, inputs=[columns])
    (expected,) = task.predict([given])
    expected = expected if per == "step" else [expected]
    cells = [answer_cells(task.target, one, False, "jsonl") for one in expected]
    assert (answer if per == "step" else [answer]) == cells


def _without_nan(values: Any) -> list[Any]:  # noqa: ANN401
    return [None if value != value else value for value in np.asarray(values).tolist()]


def numbers_only(per: str = "step", kind: str = "numbers") -> SequencePrediction:
    return sequences.make(sequences.metadata(kind, per, intervals=False, words=False))


def test_rows_of_numbers_may_lack_some() -> None:
    task = numbers_only()
    with client(task) as asked:
        (answer,) = ask(asked, inputs=[[[20, None], [21.5, 1000]]])
    (expected,) = task.predict([np.array([[20, np.nan], [21.5, 1000]])])
    assert [one["prediction:a"] for one in answer] == pytest.approx(
        [one.values[0] for one in expected], rel=1e-3
    )


@pytest.mark.parametrize("kind", ["audio/wav", "application/octet-stream"])
def test_a_recording_is_transcribed(kind: str, tmp_path: Path) -> None:
    task = recognizer()
    (tmp_path / "a.wav").write_bytes(recording())
    (expected,) = task.predict([str(tmp_path / "a.wav")])
    with client(task) as asked:
        (answer,) = send(asked, recording(), kind)
    assert answer["text"] == expected.text
    assert answer["seconds"] == round(expected.seconds, 3)
    assert [tuple(one.values()) for one in answer["tokens"]] == [*map(tuple, expected.tokens)]
    assert len(answer["tokens"]) > 2


def test_a_video_is_classified(tmp_path: Path) -> None:
    task, frames = videos.make(), videos.video(3)
    file = io.BytesIO()
    np.save(file, frames)
    with client(task) as asked:
        (answer,) = send(asked, file.getvalue(), "application/x-npy", probabilities="true")
    (expected,) = task.predict([frames])
    assert answer == [answer_cells(task.target, one, True, "jsonl") for one in expected]


def test_key_points_are_found() -> None:
    task = poses.make(poses.HEADS["heat maps"])
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    file = io.BytesIO()
    np.save(file, frames)
    with client(task) as asked:
        (answer,) = send(asked, file.getvalue(), "application/x-npy")
    (expected,) = task.predict([frames])
    assert [row["frame"] for row in answer] == [0, 1]
    found = [[[*row["points"][name].values()] for name in poses.NAMES] for row in answer]
    assert np.array(found)[..., :2] == pytest.approx(expected.points, abs=0.006)
    assert np.array(found)[..., 2] == pytest.approx(expected.scores, abs=0.0006)


def test_speech_is_transcribed_while_it_arrives(tmp_path: Path) -> None:
    task = recognizer()
    data = recording()
    (tmp_path / "a.wav").write_bytes(data)
    (expected,) = task.predict([str(tmp_path / "a.wav")])
    samples = data[44:]  # after the header of a WAV file
    with client(task) as asked, asked.websocket_connect(STREAM) as stream:
        assert stream.receive_json()["sample_rate"] == RATE
        texts = []
        for start in range(0, len(samples), 1500):
            stream.send_bytes(samples[start : start + 1500])
            texts.append(stream.receive_json()["text"])
        stream.send_json({"end": True})
        last = stream.receive_json()
    assert last["text"] == expected.text
    assert last["final"] is True
    assert [one["text"] for one in last["tokens"]] == [one.text for one in expected.tokens]
    assert all(expected.text.startswith(text) for text in texts)
    assert 0 < len(texts[len(texts) // 2]) < len(expected.text)


def test_steps_are_answered_while_they_arrive() -> None:
    task = numbers_only()
    rows = [[20.0, 1000.0], [25.0, 900.0], [18.0, 1010.0]]
    with client(task) as asked:
        (expected,) = ask(asked, inputs=[rows])
        with asked.websocket_connect(STREAM) as stream:
            assert stream.receive_json() == {"columns": ["temperature", "pressure"]}
            for _ in range(2):
                found = []
                for row in rows:
                    stream.send_json({"steps": row})
                    found += stream.receive_json()["answers"]
                assert found == expected
                stream.send_json({"reset": True})
                assert stream.receive_json() == {"answers": []}
            stream.send_json({"steps": [[1, 2, 3]]})
            assert "expected the shape (T, 2)" in stream.receive_json()["error"]
            stream.send_json({"steps": rows})  # the error has changed nothing
            assert stream.receive_json()["answers"] == expected
            stream.send_json({"end": True})
            assert stream.receive_json() == {"final": True}


def test_a_model_of_whole_sequences_cannot_stream() -> None:
    task = sequences.make(encoder=sequences.OFFLINE["CNN"])
    with client(task) as asked, asked.websocket_connect(STREAM) as stream:
        assert "streaming needs a recurrent encoder" in stream.receive_json()["error"]
