"""predict: label, score or translate lines, answer questions, write recordings down."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from srulight.commands.parser import Parser
from srulight.commands.runs import open_task
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.faults import Faults
from srulight.runtime.files import lines, read_text, well_formed
from srulight.runtime.program import program
from srulight.runtime.records import TABLES, table_rows, text_cell
from srulight.tasks.base import Task
from srulight.tasks.question_answering.predict import answer_file, answer_question
from srulight.tasks.question_answering.task import QuestionAnswering
from srulight.tasks.speech_recognition.frontend.audio import Channels
from srulight.tasks.speech_recognition.predict import listen, transcribe
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.translation.predict import translate
from srulight.tasks.translation.task import Translation

_INPUT = """File of sentences or other lines, UTF-8, - for standard input, or a table of them (.tsv,
.csv, .jsonl), of which the column is read that training read; for questions, a file of them (.json,
as SQuAD's), or a text; for speech, files of sound and folders of them, one or more"""


def predict(
    ckpt_path: str,
    input: list[str],
    output: str = "-",
    device: str = "cpu",
    batch_size: int = 64,
    beam_size: int | None = None,
    stream: bool = False,
    chunk: float = 0.1,
    sample_rate: int | None = None,
    language_model: str | None = None,
    language_weight: float = 0.5,
    word_bonus: float = 0.0,
    n_best: int = 1,
    length_penalty: float | None = None,
    coverage_penalty: float | None = None,
    plot: str | None = None,
    question: str | None = None,
    channels: Channels | None = None,
) -> None:
    """Answers lines of text, questions or recordings, as the checkpoint's task does.

    Text classification says label and probability of each line; a language model perplexity and
    tokens; tabs between, and the line behind. Translation writes the translation of each line, or
    with n_best above 1 a JSON object: source, and translations with text, score and
    log_probability. Question answering writes the official JSON of predictions for a file of
    questions; for one question about a text a line for each answer: probability, where it begins in
    characters, and the answer, tabs between. Speech recognition writes a JSON object a line for
    each recording: audio, text, seconds, and tokens with start and end in seconds; or audio and
    error.

    Args:
        ckpt_path: Checkpoint to predict with; best or last means that of the newest run.
        input: File of lines, UTF-8, - for standard input, or a table of them; for questions, a file
            of them (.json), or a text; for speech, files and folders of sound.
        output: File to write; - is standard output.
        device: Where to compute: cpu, cuda, cuda:1.
        batch_size: Lines, questions or recordings at a time.
        beam_size: For speech and translation: texts that compete, 1 for the likeliest token at each
            step; as the checkpoint's if not given.
        stream: For speech: listen to one file, or to 16-bit little-endian mono PCM on standard
            input, and show words as they come.
        chunk: For speech and stream: seconds of sound at a time.
        sample_rate: For speech and stream: samples per second (Hz) on standard input; those of the
            training if not given.
        language_model: For speech: file of an n-gram model of words (ARPA, plain or .gz); needs a
            beam_size above 1.
        language_weight: For speech: factor of the language model's log-probabilities.
        word_bonus: For speech: added to the score of a text for each word.
        n_best: For translation: translations of each line, at most beam_size. For questions:
            answers of each.
        length_penalty: For translation: exponent of the length that log-probabilities are divided
            by; as the checkpoint's if not given.
        coverage_penalty: For translation: weight of what is lost by words that were looked at too
            little; as the checkpoint's if not given.
        plot: For translation: folder for pictures of where each token came from, line-1.png for the
            first line.
        question: For question answering: a question about the text in the input.
        channels: For speech: what to do with a recording of several channels: refuse, or mix, which
            takes their mean; as the checkpoint's if not given.
    """
    check_range(
        1, batch_size=batch_size, beam_size=beam_size, n_best=n_best, sample_rate=sample_rate
    )
    task = open_task(ckpt_path, device)
    speech: dict[str, object] = {
        "stream": stream, "language_model": language_model, "channels": channels,
    }  # fmt: skip
    translation: dict[str, object] = {
        "length_penalty": length_penalty is not None,
        "coverage_penalty": coverage_penalty is not None, "plot": plot,
    }  # fmt: skip
    several = {"n_best": n_best != 1}
    asking = {"question": question}
    if isinstance(task, SpeechRecognition):
        _refuse(task, {**several, **translation, **asking})
        if beam_size is not None or language_model is not None:
            size = task.beam_size if beam_size is None else beam_size
            task.decode_with(size, language_model, language_weight, word_bonus)
        if channels is not None:
            task.frontend.channels = channels
        if stream:
            if len(input) != 1 or output != "-":
                raise InputError("stream takes one input, and writes to standard output")
            listen(task, input[0], chunk, sample_rate)
            return
        _transcribe(task, input, output, batch_size)
    elif isinstance(task, Translation):
        _refuse(task, {**speech, **asking})
        own = task.penalties
        task.search_with(
            task.beam_size if beam_size is None else beam_size,
            own.length if length_penalty is None else length_penalty,
            own.coverage if coverage_penalty is None else coverage_penalty,
        )
        if not 1 <= n_best <= task.beam_size:
            raise InputError(f"n_best must be 1 to beam_size, {task.beam_size}, got {n_best}")
        _write(translate(task, _texts(task, input), batch_size, n_best, plot), output)
    elif isinstance(task, QuestionAnswering):
        _refuse(task, {"beam_size": beam_size, **speech, **translation})
        _write(_found(task, input, question, batch_size, n_best), output)
    else:
        _refuse(task, {"beam_size": beam_size, **speech, **several, **translation, **asking})
        _write(_answers(task, _texts(task, input), batch_size), output)


def _refuse(task: Task, options: dict[str, object]) -> None:
    """Raises InputError if an option is given that is of no use to the task."""
    given = [name for name, value in options.items() if value]
    if given:
        raise InputError(f"a {type(task).__name__} has no use for {' and '.join(given)}")


def _transcribe(task: SpeechRecognition, inputs: list[str], output: str, batch_size: int) -> None:
    if inputs == ["-"]:
        raise InputError("give --input=FILE or a folder; PCM on standard input needs --stream=true")
    faults = 0

    def rows() -> Iterator[str]:
        nonlocal faults
        for row in transcribe(task, inputs, batch_size):
            faults += "error" in row
            yield json.dumps(row, ensure_ascii=False) + "\n"

    _write(rows(), output)
    if faults:
        raise InputError(f"{faults} recordings could not be read; their lines say why")


def _found(
    task: QuestionAnswering, inputs: list[str], question: str | None, batch_size: int, n_best: int
) -> Iterator[str]:
    """Gives the answers to one question, or to those of a file."""
    if len(inputs) != 1:
        raise InputError(f"expected one file, got {len(inputs)}")
    if question is not None:
        return answer_question(task, read_text(inputs[0]), question, n_best)
    if not inputs[0].endswith(".json"):
        raise InputError(
            f"expected a file of questions (.json, as SQuAD's), or a text and --question, got "
            f"{inputs[0]}"
        )
    return answer_file(task, Path(inputs[0]), batch_size, n_best)


def _texts(task: Task, inputs: list[str]) -> list[str]:
    """Gives the lines of the one file; of a table what is in the column that training read."""
    if len(inputs) != 1:
        raise InputError(f"expected one file of lines, got {len(inputs)}")
    path = inputs[0]
    if Path(path).suffix not in TABLES:
        return [line for _, line in lines(path)]
    column = task.check_trained().get("column") or "text"
    remedy = "name it so, or give the lines alone in a file of another name, such as .txt"
    faults = Faults()
    texts = [
        text_cell(row, column, f"{path}:{number}", remedy)
        for number, row in table_rows(path, "", faults)
    ]
    faults.refuse()
    return texts


def _answers(task: Task, sentences: list[str], batch_size: int) -> Iterator[str]:
    """Gives a line for each sentence."""
    # In pieces, so that a long file shows its progress.
    pieces = range(0, len(sentences), batch_size * 16)
    for start in track(pieces, "predicting", console=Console(stderr=True), transient=True):
        piece = sentences[start : start + batch_size * 16]
        for sentence, prediction in zip(piece, task.predict(piece, batch_size), strict=True):
            # In a table a text may have several lines.
            text = sentence.replace("\r\n", " ").replace("\n", " ")
            yield "\t".join([*map(_text, prediction), text]) + "\n"


def _write(lines: Iterable[str], output: str) -> None:
    # A file's name may have what no text has.
    texts = map(well_formed, lines)
    if output == "-":
        for text in texts:
            sys.stdout.write(text)
        return
    # No reader sees half a file.
    with written(Path(output)) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(texts)


def _text(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def run(args: list[str]) -> None:
    """Parses the arguments of :func:`predict` and calls it."""
    parser = Parser(prog=f"{program()} predict", description="")
    parser.add_argument("--input", nargs="+", type=str, default=["-"], help=_INPUT)
    parser.add_function_arguments(predict, as_group=False, skip={"input"})
    predict(**parser.parse_args(args))
