"""The rooms of src/gvf from the lowest level to the highest: a module imports rooms of its own level and of those below.

`tests/test_architecture.py` enforces the levels, and docs/architecture.svg is drawn from them.
"""

LEVELS: list[set[str]] = [
    {"text", "errors", "lifetime", "progress"},
    {"compiled", "storage", "workspace", "locks", "geometry", "methods", "devices", "stage_table"},
    {"metrics"},
    {"config"},
    {"execution", "tracking", "gaussians", "diffusion"},
    {"data", "procedural", "models", "losses", "rendering", "video"},
    {"training", "weights", "formats", "viewer"},
    {"pipelines"},
    {"stages"},
    {"stage_runner", "cli"},
]
