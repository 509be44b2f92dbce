"""Find the packages to install: all of ``recbole_ext``, and the yaml files as one of them."""

from setuptools import find_namespace_packages, find_packages, setup

yaml_files = [f"recbole_ext.{name}" for name in find_namespace_packages(include=["properties*"])]
setup(packages=find_packages(include=["recbole_ext*"]) + yaml_files)
