"""The options of sosr-page."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import Range

PORT = 8770


@dataclass
class PageFileOptions:
    runs: tuple[str, ...] = flag(
        (), "run folders, folders of run folders, or the folder of a comparison", positional=True
    )
    output: str = flag("page.html", "HTML file to write; an older page of sosr-page is replaced", also=("-o",))
    markdown: str = flag("", "write the tables as Markdown into this file too")
    csv: str = flag("", "write the tables as CSV into this file too")
    title: str = flag("", "title of the page; made from the runs where not given")
    watch: bool = flag(False, "serve the page on this machine only, and update it when the files change")
    port: int = flag(PORT, "port of --watch; 0: any that is free", allowed=Range(0, 65535))
    config: str | None = flag(None, "YAML file of options; the command line overrides it", also=("-c",))


@dataclass
class PageOptions:
    """All options of sosr-page."""

    page: PageFileOptions = dataclasses.field(default_factory=PageFileOptions)
