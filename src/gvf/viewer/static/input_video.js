// The input video, kept at the moment that the animation shows.

const TOLERANCE = 0.08; // seconds by which a playing video may be off before it is set right

/** Follows a player with a <video> whose frame i shows at i / framesPerSecond. */
export class InputVideo {
  #element;
  #player;
  #wanted = null;

  constructor(element, player) {
    this.#element = element;
    this.#player = player;
    element.addEventListener("seeked", () => this.#seek());
    player.addEventListener("change", () => this.follow());
  }

  /** Bring the video to the player's moment: let it play along where it can, else show single frames. */
  follow() {
    const video = this.#element;
    const player = this.#player;
    if (video.readyState === 0 || video.closest("[hidden]") !== null) {
      if (!video.paused) video.pause();
      return;
    }
    const rate = player.speed;
    const plays = player.playing && !player.backwards && rate >= 0.25;
    const time = (player.frame + 0.5) / player.framesPerSecond;
    if (!plays) {
      if (!video.paused) video.pause();
      this.#wanted = time;
      this.#seek();
      return;
    }
    this.#wanted = null;
    if (video.playbackRate !== rate) video.playbackRate = rate;
    const tolerance = Math.max(TOLERANCE * rate, 1 / player.framesPerSecond);
    if (!video.seeking && Math.abs(video.currentTime - time) > tolerance && time < video.duration) video.currentTime = time;
    if (video.paused && !video.ended) video.play().catch(() => {}); // a browser may refuse; the next seek is a frame then
  }

  /** Show the frame last asked for, unless the video is on its way to another. */
  #seek() {
    const video = this.#element;
    if (this.#wanted === null || video.seeking) return;
    const time = Math.min(this.#wanted, video.duration || 0);
    if (Math.abs(video.currentTime - time) > 0.25 / this.#player.framesPerSecond) video.currentTime = time;
  }
}
