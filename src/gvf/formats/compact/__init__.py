"""The compact coding of moving Gaussians inside `asset.glb` (docs/asset-format.md)."""
