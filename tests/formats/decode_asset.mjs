// Decode an asset.glb with the viewer's module: node decode_asset.mjs MODULE ASSET OUTPUT [CACHE_BYTES]
// Writes all frames as float32 values; prints the header as JSON, or the message of the error.
// In place of ASSET, a folder: prints the messages of all files in it, or null where one is decoded.
import { open, readFile, readdir, stat } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [module, asset, output, cacheBytes] = process.argv.slice(2);
const { decodeAsset } = await import(pathToFileURL(module));
const options = cacheBytes ? { cacheBytes: Number(cacheBytes) } : undefined;

async function decode(path) {
  const file = await readFile(path);
  return decodeAsset(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength), options);
}

async function written() {
  const decoded = await decode(asset);
  const early = decoded.numFrames > 1 ? decoded.frame(decoded.numFrames - 1) : null;
  const out = await open(output, "w");
  const target = decoded.frame(0);
  let missing = 0; // frames whose segment was not unpacked when they were asked for
  await decoded.unpacked;
  for (let t = 0; t < decoded.numFrames; t++) {
    let frame = decoded.frame(t, target);
    if (!frame) {
      missing++;
      frame = await decoded.load(t, target);
    }
    for (const name of ["means", "quats", "scales", "colors", "opacities"]) await out.write(new Uint8Array(frame[name].buffer));
  }
  await out.close();
  let held = 0; // frames that are there at once
  for (let t = 0; t < decoded.numFrames; t++) held += decoded.frame(t, target) !== null;
  const { numGaussians, numFrames, framesPerSecond, lowPass, compensate, facts } = decoded;
  return { numGaussians, numFrames, framesPerSecond, lowPass, compensate, facts, early: early !== null, missing, held };
}

async function message(path) {
  try {
    const decoded = await decode(path);
    await decoded.unpacked;
    await decoded.load(decoded.numFrames - 1);
    return null;
  } catch (error) {
    return error.message;
  }
}

if ((await stat(asset)).isDirectory()) {
  const messages = {};
  for (const name of await readdir(asset)) messages[name] = await message(`${asset}/${name}`);
  console.log(JSON.stringify(messages));
} else {
  console.log(JSON.stringify(await written()));
}
