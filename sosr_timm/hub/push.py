"""Push a directory to the Hub in one commit; a failure is one line that says how to continue."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from sosr_timm.errors import UserError, one_line
from sosr_timm.hub.model_folder import CONFIG, WEIGHTS
from sosr_timm.version import __version__

LOGIN = "log in with `hf auth login` or set HF_TOKEN to a token with write access"


def check_repository(repo_id: str) -> str:
    """The repository's name as given.

    Raises:
        UserError: it is not `ORGANISATION/NAME`.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"--repo-id {repo_id!r}: {one_line(error)}") from None
    if repo_id.count("/") != 1:
        raise UserError(f"--repo-id {repo_id!r}: expected ORGANISATION/NAME.TAG, as sosr-timm/sosr_resnet50.in1k")
    return repo_id


def push(folder: Path, repo_id: str, private: bool = False) -> str:
    """Make the repository where there is none, and commit every file of a directory to it.

    One commit, so that the repository has all of the directory or nothing of it. A large file that is there already is
    not sent again.

    Args:
        folder: with config.json and model.safetensors.
        repo_id: `ORGANISATION/NAME`.
        private: a new repository is private; one that exists stays as it is.

    Returns:
        the commit's address.

    Raises:
        UserError: the directory is incomplete, or the Hub refused; nothing is deleted, and the line says how to
            continue.
    """
    check_repository(repo_id)
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} has no {missing[0]}: `publish` or `convert` write a directory that can be pushed")
    again = f"{folder} is complete; continue with: sosr-hub push {folder} --repo-id {repo_id}"
    again += " --private" if private else ""
    if not get_token():
        raise UserError(f"the Hub requires a token: {LOGIN}. {again}")
    operations = [
        CommitOperationAdd(path_in_repo=path.relative_to(folder).as_posix(), path_or_fileobj=str(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    api = HfApi(library_name="sosr_timm", library_version=__version__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # remarks on metadata, which the card's own tests check
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.create_commit(repo_id, operations, commit_message=f"Model by sosr_timm {__version__}")
    # The client's errors come from three HTTP libraries, by its version, and share no class.
    except Exception as error:
        raise UserError(f"{reason(error, repo_id)}. {again}") from None
    print(f"published at {commit.commit_url}")
    return commit.commit_url


def reason(error: BaseException, repo_id: str) -> str:
    """Why the Hub, or the way to it, failed; one line."""
    status = status_of(error)
    owner = repo_id.partition("/")[0]
    if status == 401:
        return f"the Hub does not accept the token (401): {LOGIN}"
    if status == 403:
        return f"the token may not write to {owner} (403): it takes a token with write access, of a member of {owner}"
    text = one_line(root_of(error))
    if status is None:
        return f"the push failed ({type(root_of(error)).__name__}: {text})"
    return f"the Hub answered {status} ({text})"


def chain_of(error: BaseException) -> list[BaseException]:
    """An error and those it came from."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__
    return chain


def root_of(error: BaseException) -> BaseException:
    """The client wraps an upload's error in one that only names the file."""
    return chain_of(error)[1] if type(error) is RuntimeError and error.__cause__ is not None else error


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error or of what caused it; None where no answer came."""
    for link in chain_of(error):
        response: Any = getattr(link, "response", None)
        if response is not None:
            return int(response.status_code)
    return None
