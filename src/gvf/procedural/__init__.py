"""Animated objects made from a seed, as binary glTF files: the data of the CPU preset."""

from gvf.procedural.assets import FAMILIES, write_assets

__all__ = ["FAMILIES", "write_assets"]
