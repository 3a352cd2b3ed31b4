"""Name the skeleton of a glTF file, so that characters that share one can be recognised."""

from __future__ import annotations

import hashlib
import json

from gvf.data.gltf.document import GltfDocument
from gvf.data.gltf.scene import NodeTree
from gvf.errors import ClipError


def skeleton_digest(document: GltfDocument, tree: NodeTree) -> str | None:
    """Return a digest of the joints that move the default scene's skins, 16 hex digits, or None if it has no skin.

    It is the same for files whose joints have the same names and parents, in whatever order and with whatever nodes
    between them. A skin that cannot be read counts as none; baking reports what is wrong with it.
    """
    skins = {tree.nodes[node].skin for node in tree.mesh_nodes} - {None}
    try:
        joints = {
            joint
            for skin in skins
            if skin is not None
            for joint in document.skins[skin].indices("joints", len(tree.nodes))
        }
    except ClipError:
        return None
    if not joints:
        return None
    pairs = []
    pending: list[tuple[int, str]] = [(i, "") for i, node in enumerate(tree.nodes) if node.parent is None]
    while pending:
        index, above = pending.pop()
        node = tree.nodes[index]
        if index in joints:
            pairs.append((node.name, above))
            above = node.name
        pending.extend((child, above) for child in node.children)
    return hashlib.sha256(json.dumps(sorted(pairs)).encode()).hexdigest()[:16]
