"""A small stand-in for the Hub: the parts of its HTTP interface that publishing and loading use, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

WRITER, READER = "hf_writer", "hf_reader"
LARGE = (".safetensors", ".png")


@dataclass
class Fault:
    """What goes wrong at a request.

    Attributes:
        request: pattern of "METHOD /path".
        status: answered instead; 0 cuts the connection in the middle; -1 answers rightly with a flipped byte.
        times: how often.
    """

    request: str
    status: int
    times: int = 1


@dataclass
class Hub:
    """The stand-in's memory.

    Attributes:
        repositories: files by path, by repository.
        objects: contents of large files by SHA-256.
        private: which repositories are.
        requests: every "METHOD /path" that came.
        faults: still to happen.
        commits: files of each commit.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    endpoint: str = ""

    def commit_of(self, repository: str) -> str:
        names = sorted((name, sha256(content)) for name, content in self.repositories[repository].items())
        return hashlib.sha1(json.dumps(names).encode()).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def answer(self, status: int = 200, content: Any = b"", corrupt: bool = False, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **{key.replace("_", "-"): value for key, value in headers.items()}}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:-1] + bytes([body[-1] ^ 1]) if corrupt else body)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        self.answer(status, {"error": message}, X_Error_Message=message, **headers)

    def do_GET(self) -> None:
        self.dispatch()

    do_HEAD = do_POST = do_PUT = do_GET

    def dispatch(self) -> None:
        path = self.path.partition("?")[0]
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        fault = next((fault for fault in self.hub.faults if fault.times and re.search(fault.request, request)), None)
        if fault is not None:
            fault.times -= 1
        if fault is not None and fault.status == 0:
            self.rfile.read(min(1000, int(self.headers.get("Content-Length", 0))))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is not None and fault.status > 0:
            self.refuse(fault.status, "the stand-in was told to fail")
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in ("", WRITER, READER):
            self.refuse(401, "Invalid credentials in Authorization header")
            return
        if self.command in ("POST", "PUT") and "/validate-yaml" not in path and token != WRITER:
            signed = path.startswith("/objects/")  # as the Hub's storage, whose addresses are signed
            if not signed:
                self.refuse(403 if token else 401, "You don't have the rights to create a model under this namespace")
                return
        self.route(path, body, corrupt=fault is not None)

    def route(self, path: str, body: bytes, corrupt: bool) -> None:
        if path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.validate(json.loads(body)["content"])
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            known = self.hub.repositories[found[1]]
            self.answer(content={"files": [mode_of(file["path"], known) for file in json.loads(body)["files"]]})
        elif re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            self.answer(content={"transfer": "basic", "objects": list(map(self.batch, json.loads(body)["objects"]))})
        elif found := re.fullmatch(r"/objects/(\w+)", path):
            self.hub.objects[found[1]] = body
            self.answer(200 if sha256(body) == found[1] else 400)
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self.commit(found[1], [json.loads(line) for line in body.splitlines()])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(\w+)/(.+)", path):
            self.resolve(found[1], found[3], corrupt)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", path):
            if found[1] not in self.hub.repositories:
                self.refuse(404, "Repository not found", X_Error_Code="RepoNotFound")
                return
            self.answer(content={"id": found[1], "modelId": found[1], "sha": self.hub.commit_of(found[1])})
        else:
            self.refuse(404, f"the stand-in has no {path}")

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else f"me/{wanted['name']}"
        url = f"{self.hub.endpoint}/{name}"
        if name in self.hub.repositories:
            self.answer(409, {"error": "You already created this model repo", "url": url})
            return
        self.hub.repositories[name] = {}
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.hub.private.add(name)
        self.answer(content={"url": url, "name": name})

    def validate(self, card: str) -> None:
        metadata = yaml.safe_load(card.split("---")[1])
        errors = [{"message": f'"{key}" is missing'} for key in ("license", "tags") if not metadata.get(key)]
        errors += [{"message": '"model-index" is not valid'}] * (not isinstance(metadata.get("model-index", []), list))
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        action = {"upload": {"href": f"{self.hub.endpoint}/objects/{wanted['oid']}"}}
        return wanted if wanted["oid"] in self.hub.objects else {**wanted, "actions": action}

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines[1:]:
            value = line["value"]
            files[value["path"]] = (
                base64.b64decode(value["content"]) if line["key"] == "file" else self.hub.objects[value["oid"]]
            )
        self.hub.repositories[repository].update(files)
        self.hub.commits.append(sorted(files))
        oid = self.hub.commit_of(repository)
        url = f"{self.hub.endpoint}/{repository}/commit/{oid}"
        self.answer(content={"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, repository: str, name: str, corrupt: bool) -> None:
        if repository not in self.hub.repositories or repository in self.hub.private:
            self.refuse(404, "Repository not found", X_Error_Code="RepoNotFound")
            return
        headers = {"X_Repo_Commit": self.hub.commit_of(repository)}
        content = self.hub.repositories[repository].get(name)
        if content is None:
            self.refuse(404, "Entry not found", X_Error_Code="EntryNotFound", **headers)
            return
        if name.endswith(LARGE):
            headers |= {"X_Linked_Etag": f'"{sha256(content)}"', "X_Linked_Size": str(len(content))}
        self.answer(content=content, corrupt=corrupt, ETag=f'"{git_sha(content)}"', **headers)


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def mode_of(name: str, known: dict[str, bytes]) -> dict[str, Any]:
    mode = "lfs" if name.endswith(LARGE) else "regular"
    oid = None if name not in known else sha256(known[name]) if mode == "lfs" else git_sha(known[name])
    return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


def start() -> tuple[Hub, ThreadingHTTPServer]:
    """A stand-in that answers in a thread of its own; `shutdown()` ends it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return hub, server
