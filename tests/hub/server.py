"""A small hub on this machine: the parts of the protocol that huggingface_hub uses for models."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secret"
LARGE = ".safetensors"
"""Files with this ending are uploaded on their own, and others in the commit."""


@dataclass
class Repo:
    """A repository: the files of each commit, and the commit of each branch."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        content = json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in files.items()})
        sha = hashlib.sha1(f"{content}{len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def files(self, revision: str = "main") -> dict[str, bytes] | None:
        return self.commits.get(self.branches.get(revision, revision))


class Hub(ThreadingHTTPServer):
    """The server, its repositories, and the faults that a test asks for.

    Attributes:
        repos: Repositories by their names.
        requests: Method and path of every request, in order.
        faults: By a part of a path, a status to answer with, or 0 to cut the body off.
        announced: Size that is said of a file, by its name, in place of its own.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: dict[str, int] = {}
        self.announced: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Prints nothing."""

    def answer(self, status: int, body: Any = None, **headers: str) -> None:  # noqa: ANN401
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for part, status in self.server.faults.items():
            if part in path and status:
                self.answer(status, {"error": "the server is broken"})
                return
        parts = path.strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            self.create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            self.answer(200, {"warnings": [], "errors": []})
        elif parts[:2] == ["api", "models"]:
            self.api("/".join(parts[2:4]), parts[4:], body)
        elif parts[0] == "large":
            self.server.large[parts[1]] = body
            self.answer(200)
        elif len(parts) < 3:
            self.answer(404)
        elif parts[1].endswith(".git"):
            self.batch(json.loads(body))
        elif parts[2] == "resolve":
            self.resolve("/".join(parts[:2]), parts[3], parts[4])
        else:
            self.answer(404)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815

    def is_allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if not self.is_allowed():
            self.answer(401, {"error": "invalid token"})
        elif name in self.server.repos:
            self.answer(409, {"error": "exists", "url": f"{self.server.url}/{name}"})
        else:
            repo = self.server.repos[name] = Repo(wanted.get("visibility") == "private")
            repo.commit({".gitattributes": b""})
            self.answer(200, {"url": f"{self.server.url}/{name}"})

    def api(self, name: str, rest: list[str], body: bytes) -> None:
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and not self.is_allowed()):
            status = 404 if self.is_allowed() else 401
            self.answer(status, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return
        revision = rest[1] if len(rest) > 1 else "main"
        files = repo.files(revision)
        what = rest[0] if rest else "revision"
        if what == "branch":
            repo.branches.setdefault(revision, repo.branches["main"])
            self.answer(200)
        elif files is None:
            self.answer(404, {"error": "Revision not found"}, X_Error_Code="RevisionNotFound")
        elif what == "revision":
            sizes = {n: self.server.announced.get(n, len(c)) for n, c in files.items()}
            siblings = [{"rfilename": n, "size": size} for n, size in sizes.items()]
            sha = repo.branches.get(revision, revision)
            self.answer(
                200, {"id": name, "sha": sha, "private": repo.private, "siblings": siblings}
            )
        elif what == "tree":
            self.answer(200, [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ])  # fmt: skip
        elif what == "preupload":
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = {n: "lfs" if n.endswith(LARGE) else "regular" for n in names}
            self.answer(200, {"files": [
                {"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()
            ]})  # fmt: skip
        elif what == "commit":
            self.commit(name, repo, revision, body)

    def batch(self, wanted: dict[str, Any]) -> None:
        self.answer(200, {"transfer": "basic", "objects": [
            {"oid": one["oid"], "size": one["size"],
             "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
            for one in wanted["objects"]
        ]})  # fmt: skip

    def commit(self, name: str, repo: Repo, branch: str, body: bytes) -> None:
        files = dict(repo.files(branch) or {})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repo.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        sha = repo.commit(files, branch)
        url = f"{self.server.url}/{name}/commit/{sha}"
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def resolve(self, name: str, revision: str, file: str) -> None:
        repo = self.server.repos[name]
        content = (repo.files(revision) or {}).get(file)
        if content is None or (repo.private and not self.is_allowed()):
            self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": revision}
        is_cut = any(part in file and not status for part, status in self.server.faults.items())
        if is_cut and self.command == "GET":
            self.send_response(200)
            self.send_header("ETag", headers["ETag"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.answer(200, content, **headers)


@contextmanager
def running() -> Iterator[Hub]:
    """Starts a hub, and stops it afterward."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
