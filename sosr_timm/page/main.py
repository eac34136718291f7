"""`sosr-page` from its options to its files, or to its server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sosr_timm.errors import UserError, reason_of
from sosr_timm.files import must_write, write_text
from sosr_timm.options.page import PageOptions
from sosr_timm.page.comparisons import content_of_comparison, run_folders
from sosr_timm.page.content import Content
from sosr_timm.page.document import GENERATOR, document
from sosr_timm.page.export import as_csv, as_markdown
from sosr_timm.page.runs import content_of_runs, find_runs
from sosr_timm.page.server import open_server, serve, state_of
from sosr_timm.runner.comparison_file import RUNS, is_comparison
from sosr_timm.text import counted

OURS = f'<meta name="generator" content="{GENERATOR} '
HEAD = 4000  # characters that hold this mark in a page of ours


def run_page(options: PageOptions) -> int:
    """Write the page, or serve it.

    Raises:
        UserError: no runs, a damaged file, or a file that cannot be written.
    """
    page = options.page
    if not page.runs:
        raise UserError("no runs: name run folders, folders of run folders, or the results of a comparison")
    folders = [Path(run) for run in page.runs]
    content = content_of(folders, page.title)
    if page.watch:
        server = open_server(
            page.port,
            lambda state: document(content_of(folders, page.title), state),
            lambda: state_of(watched(folders)),
        )
        print(f"serving {server.address} to this machine only; Ctrl-C stops", flush=True)
        return serve(server)
    output = Path(page.output)
    check_replaceable(output)
    written = [path for path in (page.output, page.markdown, page.csv) if path]
    if len({Path(path).resolve() for path in written}) < len(written):
        raise UserError("--output, --markdown and --csv name one file twice; name different ones")
    write_page(content, output)
    print(f"{output}: {said(content)}")
    for path, make in ((page.markdown, as_markdown), (page.csv, as_csv)):
        if path:
            with must_write(path):
                write_text(path, printable(make(content)))
            print(path)
    return 0


def content_of(folders: Sequence[Path], title: str = "") -> Content:
    """The content of a page about folders.

    Raises:
        UserError: they hold no runs, or a comparison and something else, or a file is damaged.
    """
    comparisons = [found for folder in folders if (found := comparison_in(folder))]
    if comparisons and len(folders) > 1:
        raise UserError(f"{comparisons[0]} holds a comparison, which has a page of its own; name it alone")
    if comparisons:
        return content_of_comparison(comparisons[0], title)
    runs = list(dict.fromkeys(run for folder in folders for run in find_runs(folder)))
    return content_of_runs(runs, title)


def comparison_in(folder: Path) -> Path | None:
    """The folder of a comparison's report: the folder itself, or `results` in it."""
    return next((path for path in (folder, folder / "results") if is_comparison(path)), None)


def watched(folders: Sequence[Path]) -> list[Path]:
    """The folders whose files decide what the page shows.

    Raises:
        UserError: a folder holds no runs.
    """
    found = []
    for folder in folders:
        comparison = comparison_in(folder)
        found += [comparison, comparison / RUNS, *run_folders(comparison)] if comparison else find_runs(folder)
    return [path for path in found if path.is_dir()]


def check_replaceable(path: Path) -> None:
    """See that a file may be written: it does not exist, or is a page of ours.

    Raises:
        UserError: it is something else.
    """
    if path.is_dir():
        raise UserError(f"--output {path} is a directory; name a file in it")
    try:
        if not path.exists():
            return
        with open(path, encoding="utf-8", errors="replace") as file:
            start = file.read(HEAD)
    except OSError as error:
        raise UserError(f"--output {path} cannot be read ({reason_of(error)})") from None
    if OURS not in start:
        raise UserError(f"--output {path} exists and is not a page of {GENERATOR}; name another file")


def write_page(content: Content, path: Path) -> None:
    """Write the page in one step.

    Raises:
        UserError: the file cannot be written.
    """
    with must_write(path):
        write_text(path, printable(document(content)))


def printable(words: str) -> str:
    """Text that UTF-8 can hold: names of files may have bytes that it cannot."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def said(content: Content) -> str:
    """What the page is about, on one line."""
    state = "" if content.complete else "; not complete"
    return f"{counted(len(content.runs), 'run')} in {counted(len(content.groups), 'group')}{state}"
