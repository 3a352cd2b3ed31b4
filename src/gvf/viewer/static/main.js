// Starts the page: reads its asset, embedded or beside it, and puts the player on `window.gvf`.

import { decodeAsset } from "./asset.js";
import { completeCamera } from "./camera.js";
import { Player } from "./player.js";
import { Interface, showMessage } from "./ui.js";

const READY = Promise.withResolvers === undefined ? withResolvers() : Promise.withResolvers();

/** Show the asset of this page. Every failure ends in a message on the page. */
async function start() {
  const page = JSON.parse(document.getElementById("page").textContent);
  try {
    const sequence = await decoded(await bytes("asset", page.asset));
    const facts = { ...sequence.facts, ...page.facts };
    const player = new Player(document.getElementById("view"), sequence, { camera: usableCamera(facts.camera) });
    const video = await address("input-video", page.video);
    new Interface(player, { ...page, facts }, video);
    document.getElementById("loading").hidden = true;
    document.body.dataset.state = "ready";
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.play();
    READY.resolve(player);
  } catch (error) {
    showMessage(error.message);
    READY.reject(error);
  }
}

/** Return a camera that an asset names as its input's, or null where it names none that can be used. */
function usableCamera(given) {
  try {
    return given === null || typeof given !== "object" ? null : completeCamera(given);
  } catch {
    return null;
  }
}

async function decoded(content) {
  try {
    return await decodeAsset(content);
  } catch (error) {
    throw new Error(`${error.message} Copy the file again, or regenerate the asset.`);
  }
}

/** Return the content of the embedded file `id` as an ArrayBuffer, or of the file at `source`. */
async function bytes(id, source) {
  if (source === null) return embedded(document.getElementById(id));
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`${source} cannot be read (${answer.status} ${answer.statusText}).`);
  return answer.arrayBuffer();
}

/** Return an address for the embedded file `id`, or for the file at `source`; null where there is neither. */
async function address(id, source) {
  if (source !== null) return source;
  const element = document.getElementById(id);
  if (element === null) return null;
  return URL.createObjectURL(new Blob([embedded(element)], { type: element.dataset.type }));
}

/** Return the content of an embedded file, and free the text that held it. */
function embedded(element) {
  const text = element.textContent.trim();
  element.remove();
  if (Uint8Array.fromBase64 !== undefined) return Uint8Array.fromBase64(text).buffer;
  const characters = atob(text);
  const values = new Uint8Array(characters.length);
  for (let i = 0; i < values.length; i += 1) values[i] = characters.charCodeAt(i);
  return values.buffer;
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** Resolves to the page's Player, and rejects with the message that is shown instead. */
globalThis.gvf = READY.promise;
READY.promise.catch(() => {}); // the message is on the page
start();
