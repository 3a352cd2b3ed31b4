// Reads a PLY file of Gaussians with three.js. Prints {attribute: numbers}.
import { readFileSync } from 'node:fs';
import { PLYLoader } from 'three/addons/loaders/PLYLoader.js';

const loader = new PLYLoader();
loader.setCustomPropertyNameMapping({
  colors: ['f_dc_0', 'f_dc_1', 'f_dc_2'],
  opacity: ['opacity'],
  scales: ['scale_0', 'scale_1', 'scale_2'],
  quats: ['rot_0', 'rot_1', 'rot_2', 'rot_3'],
});
const file = readFileSync(process.argv[2]);
const geometry = loader.parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
const attributes = Object.entries(geometry.attributes).map(([name, { array }]) => [name, Array.from(array)]);
console.log(JSON.stringify(Object.fromEntries(attributes)));
