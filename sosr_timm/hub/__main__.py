"""To the Hub and into its format: sosr-hub publish | push | convert"""

import sys
from pathlib import Path
from typing import NoReturn

from sosr_timm.distributed.processes import run_command
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

USAGE = """\
sosr-hub publish RUN_FOLDER --repo-id ORGANISATION/NAME.TAG    write a directory from a run and push it
sosr-hub push FOLDER --repo-id ORGANISATION/NAME.TAG           push a directory written before
sosr-hub convert SOURCE DESTINATION [--model NAME]             write a directory from other weights
`sosr-hub publish --help` lists the options of publish. Without the command: python -m sosr_timm.hub."""


def publish_run(arguments: list[str]) -> int:
    """`publish`."""
    from sosr_timm.hub.publish import publish
    from sosr_timm.options.hub import PublishOptions
    from sosr_timm.options.load import load

    return publish(load(PublishOptions, arguments, "Publish a run on the Hub.").options)


def push_folder(arguments: list[str]) -> int:
    """`push`."""
    from sosr_timm.hub.push import push
    from sosr_timm.options.hub import PushOptions
    from sosr_timm.options.load import load

    options = load(PushOptions, arguments, "Push a directory that publish or convert has written.").options
    if not options.folder.folder:
        raise UserError("push: name the directory to push")
    push(Path(options.folder.folder), options.repository.repo_id, options.repository.private)
    return 0


def convert_weights(arguments: list[str]) -> int:
    """`convert`."""
    from sosr_timm.hub.convert import convert
    from sosr_timm.options.hub import ConvertOptions
    from sosr_timm.options.load import load

    return convert(load(ConvertOptions, arguments, "Turn weights into a directory in timm's Hub format.").options)


VERBS = {"publish": publish_run, "push": push_folder, "convert": convert_weights}


def main() -> int:
    """Do what the first argument says."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if arguments[0] not in VERBS:
        raise UserError(f"unknown command '{arguments[0]}': {close_names(arguments[0], VERBS)}")
    return VERBS[arguments[0]](arguments[1:])


def command() -> NoReturn:
    """The command `sosr-hub`, and `python -m sosr_timm.hub`."""
    sys.argv[0] = "sosr-hub"  # what messages begin with
    run_command(main)


if __name__ == "__main__":
    command()
