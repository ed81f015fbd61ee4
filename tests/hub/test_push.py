"""Models go to a hub on this machine and come back; nothing else is sent or read."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import srulight
from srulight.cli import main
from srulight.export.settings import LIMITS, write_manifest
from srulight.hub import download
from srulight.quantization import Settings, quantize
from srulight.runtime.errors import InputError
from srulight.tasks.text_classification import TextClassification
from tests.export.models import SENTENCES, checkpoint_of, setting
from tests.hub.server import TOKEN, Hub, running
from tests.python import python

constants = pytest.importorskip("huggingface_hub.constants")

TEXTS = ["the plot was dull", "charming , but not the plot"]
NAMES = {"README.md", "manifest.json", "metadata.json", "settings.json", "weights.safetensors"}


def contents() -> dict[str, Any]:
    encoder = setting("SRU", hidden_size=8, num_layers=1)
    found = checkpoint_of(TextClassification, SENTENCES, embedding_size=8, encoder=encoder)
    corpus = {
        "class_path": "srulight.tasks.text_classification.Trees",
        "init_args": {"root": "/home/ann/sst"},
    }
    found["config"] = {
        "seed_everything": 1,
        "trainer": {"max_epochs": 2, "default_root_dir": "/home/ann/runs", "logger": None},
        "model": setting("TextClassification"),
        "data": {"class_path": "srulight.TextClassificationData", "init_args": {"corpus": corpus}},
    }
    found["optimizer_states"] = [{"state": {}, "param_groups": []}]
    return found


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.ckpt"
    torch.save(contents(), path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.chdir(tmp_path)
        yield server


def push(path: Path, *options: str) -> None:
    main(["push", f"--ckpt_path={path}", "--repo=ann/model", *options])


def failed(run: Callable[[], object]) -> str:
    """Returns the sentence that a command ends with."""
    with pytest.raises(SystemExit) as caught:
        run()
    text = str(caught.value)
    assert text.startswith("error: ")
    assert "\n" not in text
    assert TOKEN not in text
    assert "unexpected" not in text
    return text


def answers(name: str | Path, **options: Any) -> list[Any]:  # noqa: ANN401
    return [one.probabilities for one in srulight.load(name, **options).predict(TEXTS)]


def test_nothing_is_sent_without_confirmation(
    hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(checkpoint, "--output=kept", "--license=mit", "--branch=next")
    assert hub.requests == []
    out = capsys.readouterr().out
    assert f"{hub.url}/ann/model (private: visible to the owner only)" in out
    assert "branch:     next" in out
    assert "nothing was uploaded; add --confirm" in out
    kept = Path("kept")
    assert {path.name for path in kept.iterdir()} == NAMES
    for path in kept.iterdir():
        assert f"{path.name} {path.stat().st_size:,} bytes" in " ".join(out.split())
        assert b"/home/ann" not in path.read_bytes()
    header = yaml.safe_load((kept / "README.md").read_text().split("---")[1])
    assert header == {
        "library_name": "srulight", "tags": ["sru", "TextClassification"], "license": "mit",
        "pipeline_tag": "text-classification",
    }  # fmt: skip
    settings = json.loads((kept / "settings.json").read_text())
    assert settings["config"]["data"]["init_args"]["corpus"]["init_args"] == {"root": "sst"}
    assert settings["config"]["trainer"] == {"max_epochs": 2}
    assert answers(kept) == answers(checkpoint)
    assert "exists already" in failed(lambda: push(checkpoint, "--output=kept"))


def test_comes_back_from_the_hub(
    hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(checkpoint, "--confirm", "--message=First")
    out = capsys.readouterr().out
    assert f"uploaded {hub.url}/ann/model/commit/" in out
    assert TOKEN not in out
    repo = hub.repos["ann/model"]
    assert repo.private
    assert repo.messages == ["First"]
    files = repo.files()
    assert files is not None
    assert files.keys() - {".gitattributes"} == NAMES
    repo.commit({**files, "pytorch_model.bin": b"\x80\x04cos\nsystem\n"})
    hub.requests.clear()
    expected = answers(checkpoint)
    assert answers("ann/model") == expected
    # The pickle and the card stay where they are.
    got = {one.rpartition("/")[2] for one in hub.requests if "resolve" in one}
    assert got == set(LIMITS)
    (checkpoint.parent / "in.txt").write_text("\n".join(TEXTS))
    capsys.readouterr()
    main(["predict", "--ckpt_path=ann/model", "--input=in.txt"])
    assert capsys.readouterr().out.count("\n") == 2
    # Without a connection, the cache answers.
    first = next(iter(repo.commits))
    hub.faults["api/models"] = 503
    assert answers("ann/model") == expected
    with pytest.raises(InputError, match="ann/other is neither a path nor in the cache") as caught:
        srulight.load("ann/other")
    assert "status 503" in str(caught.value)
    hub.faults.clear()
    with pytest.raises(
        InputError, match=r"expected a model that the command push .* got \.gitattributes"
    ):
        srulight.load("ann/model", revision=first)
    with pytest.raises(InputError, match="expected a branch, a tag or a commit, got 'v9'"):
        srulight.load("ann/model@v9")


def test_a_path_comes_first(hub: Hub, checkpoint: Path) -> None:
    folder = Path("ann") / "model"
    push(checkpoint, f"--output={folder}")
    assert answers(str(folder)) == answers(checkpoint)
    assert hub.requests == []


def test_offline_and_in_another_process(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    push(checkpoint, "--confirm", "--public", "--branch=next")
    assert not hub.repos["ann/model"].private
    code = (
        "import sys, srulight\nfrom srulight.cli import main\n"
        "main(['predict', '--ckpt_path=' + sys.argv[1], '--input=in.txt'])"
    )
    (tmp_path / "in.txt").write_text("the plot was dull")
    env = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "other"),
        "HF_HOME": str(tmp_path),
    }  # fmt: skip
    del env["HF_TOKEN"]  # a public model needs none
    outs = []
    for offline in ("0", "1"):
        done = python(
            "-c", code, "hf://ann/model@next", cwd=tmp_path, env=env | {"HF_HUB_OFFLINE": offline}
        )
        assert done.returncode == 0, done.stderr
        outs.append(done.stdout)
        seen = len(hub.requests)
    assert outs[0] == outs[1] != ""
    assert "from the cache" in done.stderr
    assert len(hub.requests) == seen
    done = python("-c", code, "ann/new", cwd=tmp_path, env=env | {"HF_HUB_OFFLINE": "1"})
    assert "ann/new is neither a path nor in the cache of the hub" in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stderr


def test_quantized(hub: Hub, checkpoint: Path) -> None:
    data = contents()
    task = srulight.load(checkpoint)
    quantize(task)
    data |= {"state_dict": task.state_dict(), "quantization": {"bits": 8, "activations": "dynamic"}}
    torch.save(data, "int8.ckpt")
    push(Path("int8.ckpt"), "--confirm")
    assert answers("ann/model") == answers("int8.ckpt")
    assert srulight.load("ann/model").quantization == Settings(8, "dynamic")


def test_refusals(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def confirmed(*options: str) -> str:
        return failed(lambda: push(checkpoint, "--confirm", *options))

    assert "--repo must have the form owner/name" in confirmed("--repo=model")
    assert "--branch must be a branch" in confirmed("--branch=..")
    assert "--message must not be empty" in confirmed("--message= ")
    assert hub.requests == []
    hub.faults["large/"] = 403
    assert "status 403" in confirmed()
    hub.faults = {"api/models/ann/model/commit": 500}
    assert "failed: status 500, the server is broken; run the command again" in confirmed()
    files = hub.repos["ann/model"].files()
    assert files is not None
    assert set(files) == {".gitattributes"}  # all or nothing
    hub.faults = {}
    hub.repos["ann/model"].private = False
    assert "expected a private repository, got a public one; pass --public" in confirmed()
    hub.repos["ann/model"].commit({"model.bin": b"", "README.md": b"mine"})
    assert "with a model of srulight, got README.md, model.bin" in confirmed("--public")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "or your token does not give access to it (status 401)" in confirmed("--repo=ann/new")
    with pytest.raises(InputError, match=r"no such repository, .* \(status 401\); check the name"):
        srulight.load("ann/missing")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "needs a token of http://127.0.0.1" in confirmed()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"127.0.0.1:9 cannot be reached \(.*refused"):
        srulight.load("ann/model")


@pytest.fixture
def pushed(hub: Hub, checkpoint: Path) -> dict[str, bytes]:
    """The files of a model on the hub."""
    push(checkpoint, "--confirm")
    files = hub.repos["ann/model"].files()
    assert files is not None
    return dict(files)


def test_a_change_during_the_download(
    hub: Hub, pushed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = download._check

    def check_and_change(*args: Any) -> None:  # noqa: ANN401
        check(*args)
        hub.repos["ann/model"].commit(pushed | {"settings.json": b"{}"})

    monkeypatch.setattr(download, "_check", check_and_change)
    with pytest.raises(InputError, match=r"ann/model changed during the download; run the"):
        srulight.load("ann/model")


def test_damaged_downloads(
    hub: Hub, pushed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults["weights"] = 0
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(InputError, match=r"the download from http\S+ failed: .*; run the command"):
        srulight.load("ann/model")
    hub.faults.clear()
    hub.announced["metadata.json"] = 10**12
    with pytest.raises(InputError, match=r"metadata.json must have at most 250,000,000 bytes, got"):
        srulight.load("ann/model")
    hub.announced.clear()
    repo = hub.repos["ann/model"]
    for name, content, message in (
        ("weights.safetensors", pushed["weights.safetensors"][:-1] + b"!", "was changed after"),
        ("weights.safetensors", None, r"expected a model .*, with weights\.safetensors, got"),
        ("manifest.json", b"{", r"manifest\.json is damaged: "),
        ("manifest.json", b"[]", "must be of type dict"),
        ("settings.json", b"\x80\x04cos\nsystem\n.", "was changed after"),
    ):
        repo.commit({k: v for k, v in (pushed | {name: content}).items() if v is not None})
        with pytest.raises(InputError, match=message) as caught:
            srulight.load("ann/model")
        assert "\n" not in str(caught.value)
    folder = tmp_path / "forged"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(pushed[name])
    (folder / "weights.safetensors").write_bytes(b"\x80\x04cos\nsystem\n.")
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    repo.commit({path.name: path.read_bytes() for path in folder.iterdir()})
    with pytest.raises(InputError, match=r"weights\.safetensors is damaged"):
        srulight.load("ann/model")
