"""python -m sosr_timm: which commands there are."""

import sys

from sosr_timm.registry import close_names
from sosr_timm.version import __version__

# Command of pyproject.toml -> (module, what it does).
COMMANDS = {
    "sosr-train": ("sosr_timm.train", "train an image classifier; accelerate launch -m sosr_timm.train"),
    "sosr-validate": ("sosr_timm.validate", "evaluate runs, checkpoints and models, and compare them"),
    "sosr-predict": ("sosr_timm.predict", "classes and probabilities of images without labels"),
    "sosr-export": ("sosr_timm.export", "a trained model as ONNX or torch.export file, with its preprocessing"),
    "sosr-compare": ("sosr_timm.compare", "train with several losses and paired seeds, and report the differences"),
    "sosr-detect": (
        "sosr_timm.detection",
        "train RetinaNet on Pascal VOC from a classifier's weights, and evaluate it",
    ),
    "sosr-analyze": ("sosr_timm.analysis", "the analyses and plots of the papers, for runs and models"),
    "sosr-page": ("sosr_timm.page", "one HTML page about runs or a comparison: tables, curves, calibration"),
    "sosr-data": (
        "sosr_timm.data",
        "prepare data sets from their official archives, pack and index tar shards, and check all",
    ),
    "sosr-hub": ("sosr_timm.hub", "publish a run on the Hugging Face Hub, convert weights"),
}


def main() -> int:
    """List the commands; an argument is a mistake, since each command is a program of its own."""
    arguments = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    if arguments:
        names = [name.removeprefix("sosr-") for name in COMMANDS]
        wanted = arguments[0].removeprefix("sosr-")
        if wanted in names:
            module, _ = COMMANDS[f"sosr-{wanted}"]
            advice = f"run 'sosr-{wanted}' or 'python -m {module}'"
        else:
            advice = close_names(wanted, names)
        print(f"python -m sosr_timm: error: unknown argument '{arguments[0]}': {advice}", file=sys.stderr)
        return 2
    print(f"sosr_timm {__version__}: output regularisers for image classifiers as timm losses\n")
    width = max(len(f"python -m {module}") for module, _ in COMMANDS.values())
    for name, (module, does) in COMMANDS.items():
        print(f"  {name:13}  {f'python -m {module}':{width}}  {does}")
    print("\nEach lists its options with --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
