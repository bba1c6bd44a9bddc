"""Builds the wheel: beside the packages it has the platform's files that a checkout has in folders at its top."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
TARGET = Path("millrace") / "platform_files"  # `millrace.project.PLATFORM` of an installed platform
FILES = ("automations", "config", "docs/operations", "k8s/pools", "prefect.yaml", "requirements.txt")


class BuildWithPlatformFiles(build_py):
    """Copies the platform's files into the built package; an editable installation reads them in the checkout."""

    def run(self) -> None:
        """Build the packages, then add the files."""
        super().run()
        if self.editable_mode:
            return
        for name in FILES:
            source, target = ROOT / name, Path(self.build_lib) / TARGET / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithPlatformFiles})
