"""Generate animated objects from a seed, as binary glTF files: the data of the CPU preset."""
