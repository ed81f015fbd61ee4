"""Names on the hub, and paths."""

from pathlib import Path

import pytest

from srulight.hub.names import HubName, hub_name, require_repo
from srulight.runtime.errors import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ann/model", HubName("ann/model")),
        ("ann/model@v1.2", HubName("ann/model", "v1.2")),
        ("hf://ann/model", HubName("ann/model")),
        ("hf://folder/model@main", HubName("folder/model", "main")),
        ("hf://ann/model.ckpt", HubName("ann/model.ckpt")),
        ("folder/model", None),  # the folder exists, so it is a path with a mistake
        ("folder/file", None),
        ("ann/model.ckpt", None),
        ("model", None),
        ("a/b/c", None),
        ("../model", None),
        ("/ann/model", None),
        ("ann/../model", None),
        (Path("ann/model"), None),
    ],
)
def test_names(
    name: str | Path, expected: HubName | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    assert hub_name(name) == expected


def test_revisions() -> None:
    assert hub_name("ann/model", "v2") == HubName("ann/model", "v2")
    with pytest.raises(InputError, match="one revision, got 'v1' and 'v2'"):
        hub_name("ann/model@v1", "v2")
    with pytest.raises(InputError, match=r"left out for a path, got 'v2' for a\.ckpt"):
        hub_name("a.ckpt", "v2")
    for wrong in ("../../x", "-x", "a b", "", "x\ny", "a//b"):
        with pytest.raises(InputError, match="must be a branch, a tag or a commit"):
            hub_name("ann/model", wrong)


@pytest.mark.parametrize(
    "repo",
    ["model", "a/b/c", "a--b/c", "a/../b", "a/b.", "a/-b", "a/ b", "a/b\n", "/b", "a/" + 97 * "b"],
)
def test_wrong_names(repo: str) -> None:
    with pytest.raises(InputError, match="the form owner/name"):
        require_repo(repo, "--repo")
    with pytest.raises(InputError, match="the form owner/name"):
        hub_name(f"hf://{repo}")
