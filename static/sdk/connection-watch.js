/** Waits this long before a lost connection is restarted: short losses heal by themselves. */
const DISCONNECTED_MS = 2_500;
/** Restarts that may fail in a row before the transport is made anew. */
const MOST_RESTARTS = 3;
const RESTART_DELAYS_MS = [0, 1_500, 3_000];
/** A restart that has led nowhere after this long has failed. */
const RESTART_TIMEOUT_MS = 10_000;

/**
 * Decides when the ICE connection of one RTCPeerConnection is restarted, and when it is beyond that.
 */
export class ConnectionWatch {
  #pc;
  #actions;
  #timer = 0;
  #restarts = 0;
  #ever = false;

  /**
   * @param {RTCPeerConnection} pc
   * @param {{onState: (state: RTCPeerConnectionState) => void, restart: () => void, rebuild: () => void}} actions
   */
  constructor(pc, actions) {
    this.#pc = pc;
    this.#actions = actions;
    pc.addEventListener('connectionstatechange', () => this.#changed());
  }

  /** The machine's network changed: what was connected probably is no more. */
  networkChanged() {
    if (this.#ever && this.#pc.connectionState !== 'closed') this.#schedule(300);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #changed() {
    const state = this.#pc.connectionState;
    if (state === 'connected') {
      clearTimeout(this.#timer);
      this.#restarts = 0;
      this.#ever = true;
    } else if (state === 'disconnected') {
      this.#schedule(DISCONNECTED_MS);
    } else if (state === 'failed') {
      this.#schedule(RESTART_DELAYS_MS[Math.min(this.#restarts, RESTART_DELAYS_MS.length - 1)]);
    }
    this.#actions.onState(state);
  }

  #schedule(delayMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#restart(), delayMs);
  }

  #restart() {
    if (this.#pc.connectionState === 'closed') return;
    if (this.#restarts >= MOST_RESTARTS) {
      this.#actions.rebuild();
      return;
    }
    this.#restarts += 1;
    this.#actions.restart();
    this.#timer = setTimeout(() => {
      if (this.#pc.connectionState !== 'connected') this.#restart();
    }, RESTART_TIMEOUT_MS);
  }
}
