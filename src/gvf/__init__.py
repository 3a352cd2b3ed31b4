"""gvf: one video of an object to an animated 3D asset, and the workshop in which such models are made."""

__version__ = "0.1.0"
