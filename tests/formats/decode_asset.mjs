// Decode an asset.glb with the viewer's module: node decode_asset.mjs MODULE ASSET OUTPUT
// Writes all frames as float32 values; prints the header as JSON, or the message of the error.
import { open, readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [module, asset, output] = process.argv.slice(2);
const { decodeAsset } = await import(pathToFileURL(module));
const file = await readFile(asset);
try {
  const decoded = await decodeAsset(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  const first = decoded.frame(0);
  const early = decoded.numFrames > 1 ? decoded.frame(decoded.numFrames - 1) : null;
  const loaded = await decoded.load(decoded.numFrames - 1);
  await decoded.unpacked;
  const out = await open(output, "w");
  const target = decoded.frame(0);
  for (let t = 0; t < decoded.numFrames; t++) {
    const frame = decoded.frame(t, target);
    for (const name of ["means", "quats", "scales", "colors", "opacities"]) await out.write(new Uint8Array(frame[name].buffer));
  }
  await out.close();
  const { numGaussians, numFrames, framesPerSecond, lowPass, compensate, facts } = decoded;
  const last = decoded.frame(numFrames - 1);
  const same = loaded.means.every((value, i) => value === last.means[i]) && first.means.length === 3 * numGaussians;
  console.log(JSON.stringify({ numGaussians, numFrames, framesPerSecond, lowPass, compensate, facts, early: early !== null, same }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
