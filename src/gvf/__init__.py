"""gvf turns one video of an object into an animated 3D asset, and trains the models that do so."""

__version__ = "0.1.0"
