"""The digest of a file's joints."""

from __future__ import annotations

from pathlib import Path

from gvf.data.gltf.document import read_gltf
from gvf.data.gltf.scene import read_nodes
from gvf.data.gltf.skeleton import skeleton_digest
from tests.data.gltf.gltf_files import GltfFile, sliding_triangle


def _digest(file: GltfFile, folder: Path) -> str | None:
    document = read_gltf(file.glb(folder / "asset.glb"))
    return skeleton_digest(document, read_nodes(document))


def _skinned(names: list[str], children: dict[int, list[int]], joints: list[int] | None = None) -> GltfFile:
    """A file whose first nodes have these names and children; `joints` of them (all by default) move the skin."""
    file = GltfFile()
    for i, name in enumerate(names):
        node = {"name": name}
        file.json.setdefault("nodes", []).append(node | ({"children": children[i]} if i in children else {}))
    file.json["skins"] = [{"joints": list(range(len(names))) if joints is None else joints}]
    file.node(mesh=file.triangle_mesh(), skin=0)
    return file


def test_names_and_parents_of_joints_make_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    one = _digest(_skinned(["hip", "knee", "foot"], {0: [1], 1: [2]}), tmp_path)
    assert one is not None
    assert len(one) == 16
    same = {
        "another order": _skinned(["foot", "hip", "knee"], {1: [2], 2: [0]}),
        "a node between them that is no joint": _skinned(
            ["hip", "helper", "knee", "foot"], {0: [1], 1: [2], 2: [3]}, [0, 2, 3]
        ),
        "a node above them": _skinned(["armature", "hip", "knee", "foot"], {0: [1], 1: [2], 2: [3]}, [1, 2, 3]),
    }
    for what, file in same.items():
        assert _digest(file, tmp_path) == one, what
    others = {
        "another name": _skinned(["hip", "knee", "toe"], {0: [1], 1: [2]}),
        "another parent": _skinned(["hip", "knee", "foot"], {0: [1, 2]}),
        "one joint less": _skinned(["hip", "knee"], {0: [1]}),
    }
    for what, file in others.items():
        assert _digest(file, tmp_path) != one, what


def test_without_joints_that_can_be_read_there_is_none(tmp_path: Path) -> None:
    assert _digest(sliding_triangle(), tmp_path) is None
    assert _digest(_skinned(["hip"], {}, [7]), tmp_path) is None  # no such node; baking says so


def test_a_deep_hierarchy_takes_no_longer_per_node(tmp_path: Path) -> None:
    """A chain of nodes whose last ones are joints: the way up from each is not walked again."""
    count = 20_000
    file = _skinned([f"n{i}" for i in range(count)], {i: [i + 1] for i in range(count - 1)}, list(range(0, count, 2)))
    assert _digest(file, tmp_path) is not None


def test_shared_assets_agree_with_the_manifest(shared: Path) -> None:
    """Skinned assets whose joints are the same to us are the same to the authors of the table."""
    import pandas as pd

    zoo = shared / "data" / "zoo"
    table = pd.read_csv(zoo / "manifest.csv")
    table = table[(table["animation"] == "skin") & (table["bytes"] < 200_000)]
    table["own"] = [_of(zoo / name) for name in table["file"]]
    assert len(table) > 20
    assert (table.groupby("own")["rig"].nunique() == 1).all()
    assert table["own"].nunique() < len(table)


def _of(path: Path) -> str | None:
    document = read_gltf(path)
    return skeleton_digest(document, read_nodes(document))
