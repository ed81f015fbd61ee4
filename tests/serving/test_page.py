"""The page to try a model does in a headless Chromium what it should.

The tests talk to real servers of small models that have not been trained. The page may report no
error to the browser's console, and may load nothing from elsewhere.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("fastapi")

from srulight import SRU
from srulight.tasks.language_modeling import Sampler
from srulight.tasks.sequence_prediction.inputs import InputReader
from srulight.tasks.translation.batch import END_ID
from tests.serving.servers import application, running
from tests.serving.test_tasks import RATE, numbers_only, recognizer, recording, sound
from tests.tasks.language_modeling.test_task import make as language_model
from tests.tasks.question_answering.test_task import make as reader
from tests.tasks.speech_recognition.test_task import make as speech
from tests.tasks.text_classification.test_task import make as classifier
from tests.tasks.translation.test_task import make as translator

pytestmark = pytest.mark.slow

CONTRAST = """() => {
    const light = color => color.match(/[\\d.]+/g).slice(0, 3).map(value => value / 255)
        .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const back = element => {
        const color = getComputedStyle(element).backgroundColor;
        const isClear = color === "transparent" || color.endsWith(", 0)");
        return isClear && element.parentElement ? back(element.parentElement) : color;
    };
    return [...document.querySelectorAll("body *")]
        .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())
            && one.getBoundingClientRect().height && !one.closest("button:disabled"))
        .map(one => {
            const [a, b] = [light(getComputedStyle(one).color), light(back(one))];
            return [one.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        });
}"""
"""Texts with the ratio of their contrast (WCAG 2.2, section 1.4.3)."""

FOCUS = """() => {
    const focused = document.activeElement;
    return focused.id || focused.className || focused.textContent;
}"""

RESAMPLE = """async ([from, to, frequency, count, size]) => {
    const {Resampler} = await import("/page/resampler.js");
    const angle = i => 2 * Math.PI * frequency * i / from;
    const given = Float32Array.from({length: count}, (_, i) => Math.sin(angle(i)));
    const resampler = new Resampler(from, to);
    const found = [];
    for (let i = 0; i < count; i += size) {
        found.push(...resampler.accept(given.subarray(i, i + size)));
    }
    return [...found, ...resampler.finish()];
}"""
"""Resamples a sine that arrives in pieces."""


@pytest.fixture(scope="module")
def browser(
    chromium: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A browser whose microphone hears ``sound()`` after half a second."""
    path = tmp_path_factory.mktemp("microphone") / "sound.wav"
    silence = np.zeros(RATE // 2)
    soundfile.write(path, np.concatenate([silence, sound().numpy(), silence]), RATE)
    found = chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}%noloop",
    )
    yield found
    found.close()


@contextmanager
def opened(browser: Any, task: Any, width: int = 900, **options: Any) -> Iterator[Any]:  # noqa: ANN401
    """Gives the page of a task. It must not cause errors, nor ask another server."""
    said: list[str] = []
    asked: list[str] = []
    with application(task, **options) as app, running(app) as port:
        context = browser.new_context(viewport={"width": width, "height": 800})
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(30_000)
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("button").first.wait_for()
        try:
            yield page
        finally:
            context.close()
    # Chromium itself reports each request that the server refuses.
    refusals = ("Failed to load resource", "Unexpected response code: 403")
    assert not [text for text in said if not any(one in text for one in refusals)]
    own = (f"http://127.0.0.1:{port}/", "data:")
    assert not [url for url in asked if not url.startswith(own)]
    assert app.errors == []


def send(page: Any, button: str = "Send") -> Any:  # noqa: ANN401
    """Presses a button, and gives the cards with the answers."""
    page.get_by_role("button", name=button).click()
    page.locator("#answer .card").first.wait_for()
    return page.locator("#answer .card")


def test_probabilities_are_bars(browser: Any) -> None:  # noqa: ANN401
    task = classifier()
    texts = ["good film", "<b>bad</b>"]
    with opened(browser, task) as page:
        assert page.title() == "srulight: Text classification"
        page.get_by_label("Texts").fill("\n\n".join(texts))
        page.keyboard.press("Control+Enter")
        page.locator("#answer .card").first.wait_for()
        cards = page.locator("#answer .card").all()
        assert [card.locator(".given").inner_text() for card in cards] == texts
        for card, expected in zip(cards, task.predict(texts), strict=True):
            assert card.locator(".said").inner_text() == expected.label
            names, shares = task.target.names, expected.probabilities
            rows = sorted(zip(shares, names, strict=True), reverse=True)
            assert card.locator(".bars li").all_inner_texts() == [
                f"{name}\n{100 * round(share, 4):.1f} %" for share, name in rows
            ]
            widths = [
                fill.bounding_box()["width"] / fill.locator("..").bounding_box()["width"]
                for fill in card.locator(".fill").all()
            ]
            assert widths == pytest.approx([share for share, _ in rows], abs=0.02)


def test_attention_is_a_picture(browser: Any) -> None:  # noqa: ANN401
    task = translator()
    task.head.bias.data[END_ID] = -100  # not trained, it would end at once
    with opened(browser, task) as page:
        page.get_by_label("Texts").fill("a b c")
        card = send(page)
        (expected,) = task.predict(["a b c"], n_best=1)[0]
        assert card.locator(".said").inner_text() == expected.text
        cells = card.locator("svg .cell")
        shown = [float(one.get_attribute("fill-opacity")) for one in cells.all()]
        weights = expected.attention.flatten().tolist()
        assert shown == pytest.approx(weights, abs=6e-5)
        names = card.locator("svg > text").all_text_contents()
        columns = expected.attention.size(1)
        assert names[:columns] == [*expected.source_tokens, "end"][:columns]
        assert names[columns:] == [*expected.tokens, "end"][: len(expected.attention)]
        assert card.locator("svg[role=img]").get_attribute("aria-label")
        first, last = cells.first.bounding_box(), cells.last.bounding_box()
        assert last["y"] > first["y"]
        assert last["x"] > first["x"]


def test_an_answer_is_marked_in_its_passage(browser: Any) -> None:  # noqa: ANN401
    task = reader()
    passage = "a \N{GRINNING FACE} b c d e f g h"  # two code units in JavaScript
    with opened(browser, task) as page:
        page.get_by_label("Question").fill("c d ?")
        page.get_by_label("Passage").fill(passage)
        page.get_by_label("N best").fill("2")
        card = send(page)
        best = task.predict([(passage, "c d ?")], n_best=2)[0]
        assert card.locator("mark").inner_text() == best[0].text
        assert card.locator(".passage").inner_text() == passage
        before = page.evaluate("document.querySelector('mark').previousSibling.data")
        assert before == passage[: best[0].start]
        assert [text.split("\n")[0] for text in card.locator(".bars li").all_inner_texts()] == [
            one.text for one in best
        ]


def test_a_text_is_continued_and_scored(browser: Any) -> None:  # noqa: ANN401
    task = language_model()
    with opened(browser, task) as page:
        page.get_by_label("Beginning of a text").fill("the cat")
        page.get_by_label("Length").fill("9")
        page.get_by_label("Seed").fill("3")
        card = send(page, "Continue")
        generated = card.locator(".new").text_content()
        assert generated == "".join(task.generate("the cat", 9, Sampler(seed=3)))
        assert card.locator(".said").text_content() == "the cat" + generated
        send(page, "Perplexity")
        page.locator(".said").get_by_text("perplexity").wait_for()
        (expected,) = task.predict(["the cat"])
        shown = page.locator(".said").inner_text()
        assert shown == f"perplexity {round(expected.perplexity, 4):g}"


def test_steps_are_lines(browser: Any) -> None:  # noqa: ANN401
    task = numbers_only(kind="class")
    with opened(browser, task) as page:
        assert "temperature" in page.get_by_label("A sequence").input_value()
        page.get_by_label("A sequence").fill("pressure,temperature\n1000,20\n,25\n900,18")
        card = send(page)
        columns = {"temperature": [20, 25, 18], "pressure": [1000, None, 900]}
        (answers,) = task.predict_steps(
            [InputReader(task.check_trained()).steps(columns, "input")], 1
        )
        paths = [one.get_attribute("d") for one in card.locator("svg[role=img] .series").all()]
        heights = [[float(point.split(" ")[1]) for point in d[1:].split("L")] for d in paths]
        # The axis goes from 1 at the top, at 10 pixels, to 0 at 176.
        shares = [[(176 - y) / 166 for y in one] for one in heights]
        expected = np.array([answer.probabilities for answer in answers]).T
        assert np.array(shares) == pytest.approx(expected, abs=0.001)
        assert card.locator(".legend li").all_inner_texts() == [*task.target.names]


def test_a_file_is_transcribed(browser: Any, tmp_path: Path) -> None:  # noqa: ANN401
    task = recognizer()
    path = tmp_path / "a.wav"
    path.write_bytes(recording())
    with opened(browser, task) as page:
        page.get_by_label("A recording").set_input_files(path)
        card = send(page)
        (expected,) = task.predict([str(path)])
        assert card.locator(".said").inner_text() == expected.text
        assert "1.0 seconds of audio" in card.inner_text()
        path.write_bytes(b"no audio")
        page.get_by_label("A recording").set_input_files(path)
        page.get_by_role("button", name="Send").click()
        page.get_by_role("alert").wait_for()
        assert page.get_by_role("alert").inner_text().startswith("recording: expected audio, got")
        assert not page.locator("#answer").is_visible()


def record(page: Any) -> None:  # noqa: ANN401
    """Records until the whole sound must have been heard."""
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop").wait_for()
    time.sleep(2.5)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("seconds of audio").wait_for()


def share_in(heard: np.ndarray[Any, Any]) -> float:
    """The share of the pieces of the sound, of 50 ms each, that a recording contains.

    A busy machine loses some of them before they reach the page.
    """
    found = 0
    for piece in np.split(sound().numpy(), 20):
        energy = np.convolve(heard**2, np.ones(len(piece)), "valid")
        likeness = np.correlate(heard, piece, "valid") / np.sqrt((piece**2).sum() * (energy + 1e-9))
        found += likeness.max() > 0.8
    return found / 20


def test_the_microphone_is_streamed(browser: Any) -> None:  # noqa: ANN401
    task = recognizer()
    heard: list[np.ndarray[Any, Any]] = []
    finished: list[str] = []
    listen = task.listen

    def spied() -> Any:  # noqa: ANN401
        found = listen()
        accept, finish = found.accept, found.finish

        def keep(samples: np.ndarray[Any, Any]) -> None:
            heard.append(samples)
            accept(samples)

        def last() -> Any:  # noqa: ANN401
            tokens = finish()
            finished.append(task.text(token.index for token in tokens))
            return tokens

        found.accept = keep  # type: ignore[method-assign,assignment]
        found.finish = last  # type: ignore[method-assign]
        return found

    task.listen = spied  # type: ignore[method-assign]
    with opened(browser, task, token="s3cret+/=") as page:
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_role("alert").wait_for()
        assert "check the token" in page.get_by_role("alert").inner_text()
        page.get_by_label("Token").fill("s3cret+/=")
        record(page)
        shown = page.locator("#answer .said").inner_text()
    assert len(heard) > 10  # it was streamed
    assert share_in(np.concatenate(heard)) > 0.7
    assert [shown] == finished


def test_the_microphone_is_sent_whole(browser: Any) -> None:  # noqa: ANN401
    task = speech(encoder=lambda size: SRU(size, 16, bidirectional=True))
    heard: list[np.ndarray[Any, Any]] = []
    predict = task.predict

    def spied(inputs: Any, *args: Any) -> Any:  # noqa: ANN401
        samples, rate = soundfile.read(inputs[0])
        assert rate == RATE
        heard.append(samples)
        return predict(inputs, *args)

    task.predict = spied  # type: ignore[method-assign,assignment]
    with opened(browser, task) as page:
        record(page)
    assert len(heard) == 1
    assert share_in(heard[0]) > 0.7


def test_errors_and_tokens(browser: Any) -> None:  # noqa: ANN401
    with opened(browser, classifier(), token="s3cret", max_characters=8) as page:
        alert = page.get_by_role("alert")
        page.get_by_role("button", name="Send").click()
        alert.wait_for()
        assert "expected the token of the server" in alert.inner_text()
        page.get_by_label("Token").fill("s3cret")
        page.get_by_label("Texts").fill("good film")
        page.get_by_role("button", name="Send").click()
        page.get_by_text("must have at most").wait_for()
        assert alert.inner_text() == ("inputs[0] must have at most 8 characters, got 9; shorten it")
        page.get_by_label("Texts").fill("good")
        send(page)
        assert not alert.is_visible()


def test_a_server_that_has_stopped(browser: Any) -> None:  # noqa: ANN401
    with opened(browser, classifier()) as page:
        page.route("**/v1/predict", lambda route: route.abort("connectionrefused"))
        page.get_by_role("button", name="Send").click()
        page.get_by_role("alert").wait_for()
        assert "the server does not answer" in page.get_by_role("alert").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_it(browser: Any, scheme: str) -> None:  # noqa: ANN401
    task = translator()
    task.head.bias.data[END_ID] = -100
    with opened(browser, task, width=320, token="s3cret") as page:
        page.emulate_media(color_scheme=scheme)
        page.get_by_role("button", name="Send").click()
        page.get_by_role("alert").wait_for()
        ratios = page.evaluate(CONTRAST)
        page.get_by_label("Token").fill("s3cret")
        page.get_by_label("Texts").fill("a b c a b c a b c a b c")
        send(page)
        ratios += page.evaluate(CONTRAST)
        assert len(ratios) > 15
        assert not [one for one in ratios if one[1] < 4.5]
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        nameless = "[...document.querySelectorAll('input, textarea')].filter(i => !i.labels.length)"
        assert page.evaluate(f"{nameless}.length") == 0
        page.get_by_label("Texts").focus()
        names = []
        for _ in range(5):
            page.keyboard.press("Tab")
            names.append(page.evaluate(FOCUS))
        assert names == ["option-n_best", "token", "Send", "scroll", "Answer as JSON"]


def test_audio_is_resampled(browser: Any) -> None:  # noqa: ANN401
    with opened(browser, classifier()) as page:
        for rate, to in [(48_000, 16_000), (44_100, 8000), (8000, 16_000), (8000, 8000)]:
            whole = page.evaluate(RESAMPLE, [rate, to, 440, rate // 4, rate])
            pieces = page.evaluate(RESAMPLE, [rate, to, 440, rate // 4, 777])
            assert pieces == whole
            assert len(whole) == to // 4
            expected = np.sin(2 * np.pi * 440 * np.arange(len(whole)) / to)
            assert np.abs(np.array(whole) - expected)[100:-100].max() < 1e-3
        high = page.evaluate(RESAMPLE, [48_000, 8000, 4100, 12_000, 12_000])  # above Nyquist
        assert np.abs(high)[100:-100].max() < 1e-2
