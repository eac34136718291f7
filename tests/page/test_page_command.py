"""`sosr-page`: files, refusals, and the server of --watch."""

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.page import PageOptions
from sosr_timm.page.main import content_of, run_page, watched
from sosr_timm.page.server import PageServer, open_server, serve, state_of
from tests.page.stored import stored_run
from tests.page.test_content import COMPARISON


def page(*words):
    return run_page(load(PageOptions, [*map(str, words)]).options)


def refusal(*words):
    with pytest.raises(UserError) as caught:
        page(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_page_of_a_comparison_with_markdown_and_csv(tmp_path, capsys):
    files = [tmp_path / name for name in ("a.html", "a.md", "a.csv")]
    assert page(COMPARISON, "--output", files[0], "--markdown", files[1], "--csv", files[2], "--title", "Mine") == 0
    assert "<h1>Mine</h1>" in files[0].read_text() and files[1].read_text().startswith("# Mine")
    assert capsys.readouterr().out == f"{files[0]}: 6 runs in 3 groups\n{files[1]}\n{files[2]}\n"
    before = files[0].read_text()
    assert page(COMPARISON, "--output", files[0]) == 0, "an older page of ours is replaced"
    assert files[0].read_text() != before


def test_one_file_for_two_exports_is_refused(tmp_path):
    said = refusal(COMPARISON, "--output", tmp_path / "a.html", "--markdown", tmp_path / "a.html")
    assert said.startswith("--output, --markdown and --csv name one file twice") and not list(tmp_path.iterdir())


def test_a_folder_of_runs_and_the_folder_of_a_comparison(tmp_path):
    stored_run(tmp_path / "runs" / "a")
    assert len(content_of([tmp_path / "runs"]).runs) == 1
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "results").symlink_to(COMPARISON)
    assert len(content_of([tmp_path / "both"]).runs) == 6
    stored_run(tmp_path / "both" / "runs" / "a")
    assert len(content_of([tmp_path / "both"]).runs) == 6


def test_an_empty_folder_is_refused_and_nothing_is_overwritten(tmp_path):
    empty, output = tmp_path / "empty", tmp_path / "page.html"
    empty.mkdir()
    assert page(COMPARISON, "--output", output) == 0
    before = output.read_bytes()
    assert refusal(empty, "--output", output).startswith(f"{empty} holds no run")
    assert output.read_bytes() == before
    assert refusal("--output", output).startswith("no runs: name run folders")
    assert refusal(tmp_path / "gone", "--output", output) == f"{tmp_path / 'gone'} does not exist"
    assert refusal(COMPARISON, empty, "--output", output).endswith("which has a page of its own; name it alone")


def test_a_file_that_is_no_page_is_not_overwritten(tmp_path):
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<html>years of work</html>")
    assert refusal(COMPARISON, "--output", thesis).endswith("exists and is not a page of sosr-page; name another file")
    assert thesis.read_text() == "<html>years of work</html>"
    assert "is a directory" in refusal(COMPARISON, "--output", tmp_path)
    assert "cannot be written" in refusal(COMPARISON, "--output", thesis / "page.html")


@pytest.fixture
def server(tmp_path):
    stored_run(tmp_path / "a", done=1)
    made = []

    def make(state):
        made.append(state)
        return f"<p>{content_of([tmp_path]).groups[0].reason}</p>"

    found = PageServer(0, make, lambda: state_of(watched([tmp_path])))
    found.made, found.folder = made, tmp_path
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def get(server, path="", host=None):
    request = urllib.request.Request(server.address + path, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_the_served_page_follows_the_files(server):
    assert server.server_address[0] == "127.0.0.1"
    state = get(server, "state")[1]
    assert get(server) == get(server) == (200, "<p>seed 0: 1 of 4 epochs</p>") and server.made == [state]
    path = server.folder / "a" / "metrics.jsonl"
    path.write_text(path.read_text() + json.dumps({"kind": "epoch", "epoch": 1, "eval_top1": 1.0}) + "\n")
    assert get(server, "state")[1] != state
    assert get(server) == (200, "<p>seed 0: 2 of 4 epochs</p>")


def test_the_server_answers_for_nothing_else(server):
    for path, host, status in (("../../etc/passwd", None, 404), ("a", None, 404), ("", "attacker.example", 403)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(server, path, host)
        assert caught.value.code == status


def test_files_that_cannot_be_read_now_are_said_and_served_again_later(server):
    path = server.folder / "a" / "run.json"
    content = path.read_text()
    path.write_text("{")
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(server)
    assert caught.value.code == 503 and "cannot be read" in caught.value.read().decode()
    path.write_text(content)
    assert get(server)[0] == 200


def test_a_directory_that_vanishes_while_it_is_read_is_said(server, monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(server, "state", gone)
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(server, "state")
    assert (caught.value.code, caught.value.read()) == (503, b"No such file or directory")


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port} is taken by another program"):
            open_server(port, str, str)
        said = refusal(COMPARISON, "--watch", "--port", port)
    assert said == f"--port {port} is taken by another program; name another port, or 0 for a free one"


def test_ctrl_c_stops_the_server(monkeypatch, capsys, tmp_path):
    def interrupted(self, poll_interval):
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    found = open_server(0, str, str)
    assert serve(found) == 0 and capsys.readouterr().out == "stopped\n"
    assert found.socket.fileno() == -1
    assert page(COMPARISON, "--watch", "--port", 0) == 0
    assert capsys.readouterr().out.startswith("serving http://127.0.0.1:")
