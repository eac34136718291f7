"""A small Debian system with font packages: matplotlib's fonts, and dpkg's database of what is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib

from sosr_timm.data.prepare.glyph_packages import listed_packages

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Packages of the list, with fonts that they could have.
PACKAGES = {
    "fonts-dejavu-core": ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf"),
    "fonts-lyx": ("cmr10.ttf", "cmex10.ttf"),
    "fonts-stix": ("STIXGeneral.ttf", "STIXNonUni.ttf"),
}
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: someone
License: OFL-1.1

Files: debian/*
Copyright: someone else
License: GPL-3
"""


def debian_root(root: Path, packages: dict[str, tuple[str, ...]] = PACKAGES) -> Path:
    """Install packages below `root`: files, dpkg's lists and status, copyright files."""
    versions = {package.name: package.version for package in listed_packages()}
    status = ["Package: fonts-removed\nStatus: deinstall ok config-files\nVersion: 1\n"]
    for package, names in packages.items():
        folder = root / "usr/share/fonts/truetype" / package
        folder.mkdir(parents=True)
        for name in names:
            shutil.copy(FONTS / name, folder / name)
        paths = ["/.", "/usr/share/fonts", *(f"/{(folder / name).relative_to(root)}" for name in names)]
        write(root / f"var/lib/dpkg/info/{package}.list", "\n".join(paths) + "\n")
        write(root / f"usr/share/doc/{package}/copyright", COPYRIGHT)
        status.append(
            f"Package: {package}\nStatus: install ok installed\nDescription: fonts\n of: several\n"
            f"Version: {versions[package]}\n"
        )
    write(root / "var/lib/dpkg/status", "\n".join(status))
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
