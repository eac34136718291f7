"""A policy file from the source code of Fast AutoAugment's authors, which is read as data and never run."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import yaml

from sosr_timm.data.transforms.learned_policies import check_policy
from sosr_timm.errors import UserError, one_line
from sosr_timm.files import must_write, write_text
from sosr_timm.registry import close_names


def extract_policy(source: Path, function: str, destination: Path) -> str:
    """Write the list that a function of a Python file returns as a policy file.

    Args:
        source: `FastAutoAugment/archive.py` of the authors' repository.
        function: in it, `fa_reduced_cifar10` for CIFAR.
        destination: YAML file to write.

    Returns:
        a line that says what was written.

    Raises:
        UserError: no such function, no literal list in it, or a list that is not a policy.
    """
    try:
        text = source.read_bytes()
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{source} cannot be read ({one_line(error)})") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in functions:
        raise UserError(f"{source} has no function '{function}': {close_names(function, functions)}")
    values = [node.value for node in ast.walk(functions[function]) if isinstance(node, (ast.Assign, ast.Return))]
    lists = [value for value in values if isinstance(value, ast.List)]
    if len(lists) != 1:
        raise UserError(f"{source}: {function} holds {len(lists)} lists, not one")
    try:
        content = ast.literal_eval(lists[0])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: the list of {function} is not plain data ({error})") from None
    policy = check_policy(content, f"{source}, {function}")
    header = f"# {function} of {source.name} (SHA-256 {hashlib.sha256(text).hexdigest()}):\n"
    header += "# sub-policies of [operation, probability, level].\n"
    entries = [[list(operation) for operation in entry] for entry in policy]
    with must_write(destination):
        write_text(destination, header + yaml.safe_dump(entries, default_flow_style=None, width=120))
    return f"{destination}: {len(policy)} sub-policies"
