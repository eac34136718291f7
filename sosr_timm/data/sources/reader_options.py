"""What a data set's reader must be told: which fields hold image and target, in which form."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sosr_timm.errors import UserError, one_line
from sosr_timm.extras import import_extra


@dataclass(frozen=True)
class ReaderOptions:
    """Names of fields, under timm's names.

    Attributes:
        input_key: field of the image ("image"); column of the paths in a table; for directories and archives the file
            endings that count, separated by semicolons.
        target_key: field of the target ("label"), or several with commas: one label for each that is above 0.
        target_format: "indices": a class index or a list of them; "multihot": a vector with an entry for each class.
        trust_remote_code: run the loading script that comes with a data set of the Hub.
        num_classes: length of the vectors, where the data set does not say.
    """

    input_key: str | None = None
    target_key: str | None = None
    target_format: str | None = None
    trust_remote_code: bool = False
    num_classes: int | None = None

    def otherwise(self, other: ReaderOptions) -> ReaderOptions:
        """What is given here, and what is not as in another."""
        names = [field.name for field in fields(self)]
        return ReaderOptions(**{name: getattr(self, name) or getattr(other, name) for name in names})

    def arguments(self) -> dict[str, Any]:
        """Of `timm.data.create_dataset`; what is not given keeps the reader's default."""
        names = ("input_key", "target_key", "target_format")
        given = {name: getattr(self, name) for name in names if getattr(self, name)}
        return given | ({"trust_remote_code": True} if self.trust_remote_code else {})

    def refuse(self, dataset: str, *taken: str) -> None:
        """Raise where something is given that has no effect on the data set.

        Args:
            dataset: its name, for the message.
            taken: what has an effect on it.

        Raises:
            UserError: with the flag.
        """
        flags = {"trust_remote_code": "--dataset-trust-remote-code"}
        for name in self.arguments():
            if name not in taken:
                flag = flags.get(name, f"--{name.replace('_', '-')}")
                others = "hfds/NAME and tables (.csv, .parquet) have" if name.endswith("key") else "hfds/NAME has"
                raise UserError(f"{flag}: {dataset or 'class directories'} has no such choice, {others}")


def create_dataset(dataset: str, root: str | None, split: str, download: bool, **arguments: Any) -> Any:
    """timm's data set by name, images left as they are stored.

    Raises:
        UserError: a package that is missing, or whatever timm and the reader's package refuse.
    """
    from timm.data import create_dataset as create

    try:
        return create(dataset, root=root, split=split, download=download, input_img_mode=None, **arguments)
    except ModuleNotFoundError as error:
        if dataset.lower().startswith("hfds/"):
            import_extra("datasets", "hfds", f"--dataset {dataset}")
        raise UserError(f"data set '{dataset}' needs the package {error.name}: pip install {error.name}") from None
    except (AssertionError, ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        hint = "; --dataset-download lets torchvision fetch it" if type(error) is RuntimeError and not download else ""
        where = f" in {root}" if root else ""
        raise UserError(f"data set '{dataset}'{where}: {one_line(error)}{hint}") from None
