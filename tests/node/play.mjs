// Plays the first animation of a GLB with three.js. Arguments: the file, then times in seconds.
// Prints {animations: [{name, duration}], meshes: [{name, vertices, material: {...}, positions: [base64 float32 per time],
// normals: [...]}]}; positions and normals are in world space, after morph targets.
import { readFileSync } from 'node:fs';
import * as THREE from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';

globalThis.self = globalThis;
// Images are not decoded here; what reaches this function are the encoded bytes of the file.
globalThis.createImageBitmap = async (blob) => ({ width: 1, height: 1, bytes: blob.size, type: blob.type, close() {} });

const [path, ...times] = process.argv.slice(2);
const file = readFileSync(path);
const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
const gltf = await new Promise((resolve, reject) => new GLTFLoader().parse(buffer, '', resolve, reject));

const base64 = (values) => Buffer.from(new Float32Array(values).buffer).toString('base64');
const textures = (material) => Object.entries(material).filter(([, value]) => value?.isTexture)
  .map(([name, value]) => [name, { bytes: value.image.bytes, channel: value.channel, offset: value.offset.toArray(), repeat: value.repeat.toArray() }]);

function state(mesh) {
  const { geometry, morphTargetInfluences } = mesh;
  const positions = [], normals = [], point = new THREE.Vector3();
  const turn = new THREE.Matrix3().getNormalMatrix(mesh.matrixWorld);
  for (let i = 0; i < geometry.attributes.position.count; i++) {
    positions.push(...mesh.getVertexPosition(i, point).applyMatrix4(mesh.matrixWorld).toArray());
    if (!geometry.attributes.normal) continue;
    point.fromBufferAttribute(geometry.attributes.normal, i);
    (geometry.morphAttributes.normal ?? []).forEach((target, frame) => {
      const weight = morphTargetInfluences[frame];
      if (weight) point.add(new THREE.Vector3().fromBufferAttribute(target, i).multiplyScalar(weight));
    });
    normals.push(...point.applyMatrix3(turn).normalize().toArray());
  }
  return [base64(positions), base64(normals)];
}

const meshes = [];
gltf.scene.traverse((object) => { if (object.isMesh) meshes.push(object); });
const found = meshes.map((mesh) => ({
  name: mesh.name,
  parent: mesh.parent.name,
  vertices: mesh.geometry.attributes.position.count,
  triangles: (mesh.geometry.index?.count ?? 0) / 3,
  attributes: Object.keys(mesh.geometry.attributes),
  material: { name: mesh.material.name, type: mesh.material.type, color: mesh.material.color.toArray(), side: mesh.material.side, textures: Object.fromEntries(textures(mesh.material)) },
  positions: [],
  normals: [],
}));
const mixer = new THREE.AnimationMixer(gltf.scene);
if (gltf.animations.length) mixer.clipAction(gltf.animations[0]).setLoop(THREE.LoopOnce).play().clampWhenFinished = true;
let now = 0;
for (const time of times.map(Number)) {
  mixer.update(time - now);
  now = time;
  gltf.scene.updateMatrixWorld(true);
  meshes.forEach((mesh, index) => {
    const [positions, normals] = state(mesh);
    found[index].positions.push(positions);
    found[index].normals.push(normals);
  });
}
console.log(JSON.stringify({ animations: gltf.animations.map(({ name, duration }) => ({ name, duration })), meshes: found }));
