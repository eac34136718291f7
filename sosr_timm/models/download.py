"""Check downloaded weights against the Hub's hash; every failed download is the same kind of error."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError

# Which of these errors the Hub's client raises depends on its version; they have no common base class.
HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


class DamagedWeightsError(RuntimeError):
    """Downloaded weights differ from the Hub's."""


@contextmanager
def checked_download(repository: str | None, cache_dir: str | os.PathLike | None = None) -> Iterator[None]:
    """Wrap code that loads a repository's weights; raises if the downloaded files differ from the Hub's.

    The Hub's client compares sizes only. Its cache names a large file by the SHA-256 that the Hub told it, so the file
    can be checked against its own name. A damaged one is deleted, so that the next attempt downloads it again.

    Args:
        repository: `organisation/name` or `organisation/name@revision`; None where nothing is downloaded.
        cache_dir: of the client; its default where None.

    Raises:
        DamagedWeightsError: the hash differs.
        OSError: the download failed.
    """
    try:
        yield
    except SafetensorError:
        _check_download(repository, cache_dir)
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] in HTTP_CLIENTS:
            raise OSError(f"the download failed ({type(error).__name__}: {error})") from error
        raise
    _check_download(repository, cache_dir)


def _check_download(repository: str | None, cache_dir: str | os.PathLike | None) -> None:
    if repository is None:
        return
    name, _, revision = repository.partition("@")
    found = try_to_load_from_cache(name, "model.safetensors", cache_dir=cache_dir, revision=revision or None)
    if not isinstance(found, str) or not os.path.islink(found):
        return  # not downloaded, or a cache without links, in which the file's name is not its hash
    blob = Path(found).parent / os.readlink(found)
    if not re.fullmatch("[0-9a-f]{64}", blob.name):
        return
    digest = hashlib.sha256()
    with open(blob, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != blob.name:
        blob.unlink()
        raise DamagedWeightsError(
            f"model.safetensors of {repository} was damaged on its way here (its SHA-256 is not the Hub's) and has "
            "been deleted from the cache: load it again"
        )
