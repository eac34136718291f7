"""What fails on the way to the Hub is one line, costs nothing, and the second try completes."""

import re

import pytest

from sosr_timm.errors import UserError
from tests.hub.conftest import point_at
from tests.hub.harness import hub_command
from tests.hub.stand_in import READER, Fault

REPOSITORY = "somebody/sosr_resnet18.digits"
ANY = 100  # more often than the client tries


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "sosr_resnet18.digits"
    hub_command("publish", runs / "timms", "--repo-id", REPOSITORY, "--dry-run", path)
    return path


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("POST /api/repos/create", 500), "the Hub answered 500"),
        (Fault("POST .*/preupload/", 503, ANY), "the Hub answered 503"),
        (Fault("PUT /objects/", 500, ANY), "the Hub answered 500"),
        (Fault("PUT /objects/", 0, ANY), "the push failed"),
        (Fault("POST .*/commit/", 0), "the push failed"),
        (Fault("POST .*/commit/", 500), "the Hub answered 500"),
    ],
    ids=lambda value: f"{value.request}-{value.status}" if isinstance(value, Fault) else "",
)
def test_a_failure_is_one_line_and_the_command_in_it_completes(hub, folder, fault, message):
    hub.faults.append(fault)
    before = content(folder)
    with pytest.raises(UserError, match=message) as caught:
        hub_command("push", folder, "--repo-id", REPOSITORY)
    assert hub.commits == []
    assert content(folder) == before
    fault.times = 0
    (command,) = re.findall(r"sosr-hub (push .*)$", str(caught.value))
    hub.requests.clear()
    assert hub_command(*command.split()) == 0
    assert hub.repositories[REPOSITORY] == before
    assert hub.commits == [sorted(before)]


def test_what_was_sent_before_a_failure_is_not_sent_again(hub, folder):
    hub.faults.append(Fault("POST .*/commit/", 500))
    with pytest.raises(UserError):
        hub_command("push", folder, "--repo-id", REPOSITORY)
    hub.requests.clear()
    assert hub_command("push", folder, "--repo-id", REPOSITORY) == 0
    assert not [request for request in hub.requests if request.startswith("PUT")]


@pytest.mark.parametrize("status", [0, 500])
def test_what_fails_once_is_tried_again_by_the_client(hub, folder, status):
    hub.faults.append(Fault("PUT /objects/", status))
    assert hub_command("push", folder, "--repo-id", REPOSITORY) == 0
    assert hub.repositories[REPOSITORY] == content(folder)


def test_a_repository_that_exists_is_written_to(hub, folder):
    hub.repositories[REPOSITORY] = {"README.md": b"old", "kept.txt": b"kept"}
    assert hub_command("push", folder, "--repo-id", REPOSITORY) == 0
    assert hub.repositories[REPOSITORY] == {**content(folder), "kept.txt": b"kept"}
    assert hub_command("push", folder, "--repo-id", REPOSITORY) == 0  # nothing new is no failure


def test_a_new_repository_is_private_where_that_is_asked_for(hub, folder):
    hub_command("push", folder, "--repo-id", REPOSITORY, "--private")
    hub_command("push", folder, "--repo-id", "somebody/open")
    assert hub.private == {REPOSITORY}


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "the Hub requires a token: log in with `hf auth login` or set HF_TOKEN"),
        ("hf_wrong", "does not accept the token (401)"),
        (READER, "the token may not write to somebody (403): it takes a token with write access, of a member of"),
    ],
)
def test_tokens(hub, folder, monkeypatch, token, message):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError, match=re.escape(message)):
        hub_command("push", folder, "--repo-id", REPOSITORY)
    assert REPOSITORY not in hub.repositories


def test_without_a_network(folder, monkeypatch):
    point_at("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    with pytest.raises(UserError, match=r"the push failed \(Connect.*continue with: sosr-hub push"):
        hub_command("push", folder, "--repo-id", REPOSITORY)


def test_a_card_that_the_hub_refuses(hub, folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "folder")
    card = (folder / "README.md").read_text().replace("license: apache-2.0\n", "")
    (tmp_path / "folder" / "README.md").write_text(card)
    with pytest.raises(UserError, match='"license" is missing'):
        hub_command("push", tmp_path / "folder", "--repo-id", REPOSITORY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "push: name the directory"),
        (["{here}", "--repo-id", "a/b"], "has no config.json: `publish` or `convert` write"),
        (["{here}", "--repo-id", "/"], "--repo-id '/'"),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        hub_command("push", *[word.format(here=tmp_path) for word in arguments])
