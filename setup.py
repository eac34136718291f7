"""Copies hparams/ into the package while a wheel is built, so that `--config digits` works without a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:  # an editable install reads the recipes of the checkout
            recipes = Path(self.build_lib) / "sosr_timm" / "hparams"
            shutil.rmtree(recipes, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / "hparams", recipes)


setup(cmdclass={"build_py": BuildWithRecipes})
