"""The Debian packages whose fonts `glyphs` is made of: which there are, which are installed, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from sosr_timm.errors import UserError, reason_of

LIST = "glyph_packages.txt"
DATABASE = Path("var/lib/dpkg")
ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
INSTALL = "apt-get install --no-install-recommends"


@dataclass(frozen=True)
class Package:
    """A font package.

    Attributes:
        name: of the package.
        version: Debian's version of it.
    """

    name: str
    version: str


@cache
def listed_packages() -> tuple[Package, ...]:
    """The fixed list, in alphabetical order, with the versions of Debian 12."""
    text = files("sosr_timm.data.prepare").joinpath(LIST).read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(Package(name, version) for name, version in lines)


def installed_packages(root: Path) -> dict[str, str]:
    """Version of each installed package, by name, from dpkg's database below `root`.

    Raises:
        UserError: there is no such database.
    """
    path = root / DATABASE / "status"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(
            f"glyphs is made from fonts of Debian packages, and {path} cannot be read ({reason_of(error)}); prepare it "
            "on Debian 12, or name the root of such a system: sosr-data prepare glyphs ROOT"
        ) from None
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            found[fields["Package"]] = fields["Version"]
    return found


def find_packages(root: Path, part: bool) -> list[Package]:
    """The packages of the list that are installed below `root`, with their installed versions.

    Args:
        root: of a Debian system.
        part: let packages be missing or of other versions.

    Raises:
        UserError: packages are missing (the line has the command that installs them) or of other versions.
    """
    installed, listed = installed_packages(root), listed_packages()
    missing = [package.name for package in listed if package.name not in installed]
    if missing and (not part or len(missing) == len(listed)):
        raise UserError(
            f"glyphs: {len(missing)} of {len(listed)} font packages are not installed; install them with: {INSTALL} "
            + " ".join(missing)
        )
    other = [package for package in listed if installed.get(package.name, package.version) != package.version]
    if other and not part:
        first = other[0]
        raise UserError(
            f"glyphs: {len(other)} of {len(listed)} font packages are not of the versions that the data set is made "
            f"from, the first: {first.name} {installed[first.name]}, not {first.version} (Debian 12); add "
            "--allow-subset to make a set that is marked as a part"
        )
    return [Package(package.name, installed[package.name]) for package in listed if package.name in installed]


def font_files(root: Path, package: str) -> list[Path]:
    """The font files that dpkg lists for a package, in the order of their paths, relative to `root`.

    Links are left out: their targets are listed too.
    """
    lists = [root / DATABASE / "info" / f"{package}{architecture}.list" for architecture in ("", ":all")]
    path = next((path for path in lists if path.is_file()), None)
    try:
        if path is None:
            raise FileNotFoundError(2, "No such file or directory")
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"glyphs: dpkg's list of {package} cannot be read ({lists[0]}: {reason_of(error)})") from None
    paths = (Path(line.lstrip("/")) for line in lines if line.lower().endswith(ENDINGS))
    return sorted(path for path in paths if (root / path).is_file() and not (root / path).is_symlink())
