// Prints what three.js reads of the Gaussians in a GLB (KHR_gaussian_splatting): centers, covariances, RGBA bytes.
import { readFileSync } from 'node:fs';

globalThis.self ??= globalThis; // three/webgpu expects the global object of a browser
const { GLTFLoader } = await import('three/addons/loaders/GLTFLoader.js');
const { GLTFGaussianSplatLoaderExtension } = await import('three/addons/loaders/GLTFGaussianSplatLoaderExtension.js');

const file = readFileSync(process.argv[2]);
const loader = new GLTFLoader();
loader.register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
const { scene } = await loader.parseAsync(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength), '');
const found = [];
scene.traverse((object) => {
  if (!object.isGaussianSplat) return;
  const attributes = {};
  for (const [name, attribute] of Object.entries(object.splatGeometry.attributes))
    attributes[name] = { itemSize: attribute.itemSize, values: Array.from(attribute.array) };
  found.push({ name: object.name, world: object.matrixWorld.elements, attributes });
});
console.log(JSON.stringify(found));
