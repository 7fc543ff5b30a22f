import { ConnectionWatch } from './connection-watch.js';
import { takeStereo } from './encodings.js';
import { SerialQueue } from './queue.js';

/**
 * The transport this client receives on: one RTCPeerConnection that answers the server's offers.
 *
 * Events: `state` (`{state}`), `track` (`{publication, participant, track, receiver}`), `trackgone`
 * (`{publication}`).
 */
export class SubscribeTransport extends EventTarget {
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  #iceServers = [];
  #answer;
  #requestRestart;
  #policy;
  #queue = new SerialQueue();
  /** @type {Map<string, {mid: string, receiver: RTCRtpReceiver}>} */
  #received = new Map();
  #watch = null;

  /**
   * @param {{answer: (seq: number, sdp: string) => Promise<unknown>, restart: () => Promise<unknown>,
   *   iceTransportPolicy?: RTCIceTransportPolicy}} options
   *   how an answer is sent, and how an offer with fresh ICE credentials is asked for
   */
  constructor({ answer, restart, iceTransportPolicy = 'all' }) {
    super();
    this.#policy = iceTransportPolicy;
    this.#answer = answer;
    this.#requestRestart = restart;
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.#pc?.connectionState ?? 'new';
  }

  /** @param {RTCIceServer[]} iceServers */
  setIceServers(iceServers) {
    this.#iceServers = iceServers;
    this.#pc?.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
  }

  /**
   * Answer an offer. Offers are answered in the order they came.
   * @param {{seq: number, sdp: string, media: {mid: string, publication: string, participant: string}[]}} offer
   * @returns {Promise<void>} rejects with what the browser or the server says of it
   */
  apply(offer) {
    return this.#queue.run(() => this.#apply(offer));
  }

  async #apply({ seq, sdp, media }) {
    try {
      await this.#accept(sdp);
    } catch {
      // An offer that does not fit what went before: a connection made anew has no before.
      this.#close();
      await this.#accept(sdp);
    }
    const pc = this.#pc;
    const answered = this.#answer(seq, pc.localDescription.sdp);
    this.#match(pc, media);
    await answered;
  }

  async #accept(sdp) {
    this.#pc ??= this.#open();
    await this.#pc.setRemoteDescription({ type: 'offer', sdp });
    const answer = await this.#pc.createAnswer();
    await this.#pc.setLocalDescription({ type: 'answer', sdp: takeStereo(answer.sdp, sdp) });
  }

  /** The server lost the transport: the next offer is of a new one. */
  reset() {
    return this.#queue.run(() => this.#close());
  }

  /** Ask for an ICE restart. */
  restart() {
    // Refused where there is nothing to restart, or while the connection is down, which brings an offer anyway.
    Promise.resolve(this.#requestRestart()).catch(() => undefined);
  }

  /** The machine's network changed. */
  networkChanged() {
    this.#watch?.networkChanged();
  }

  /**
   * @param {string} publication
   * @returns {Promise<RTCStatsReport> | undefined}
   */
  getStats(publication) {
    return this.#received.get(publication)?.receiver.getStats();
  }

  /** @returns {Promise<RTCStatsReport> | undefined} of the whole connection */
  getTransportStats() {
    return this.#pc?.getStats();
  }

  close() {
    this.#close();
  }

  #open() {
    const pc = new RTCPeerConnection({
      iceServers: this.#iceServers,
      iceTransportPolicy: this.#policy,
      bundlePolicy: 'max-bundle',
      rtcpMuxPolicy: 'require',
    });
    this.#watch = new ConnectionWatch(pc, {
      onState: (state) => this.#emit('state', { state }),
      restart: () => this.restart(),
      rebuild: () => {
        // The answer of another connection tells the server to begin anew.
        this.reset();
        this.restart();
      },
    });
    return pc;
  }

  #close() {
    this.#watch?.stop();
    this.#pc?.close();
    this.#pc = null;
    for (const publication of this.#received.keys()) this.#emit('trackgone', { publication });
    this.#received.clear();
  }

  #match(pc, media) {
    const wanted = new Map(media.map((each) => [each.publication, each]));
    for (const [publication, { mid }] of [...this.#received]) {
      if (wanted.get(publication)?.mid !== mid) {
        this.#received.delete(publication);
        this.#emit('trackgone', { publication });
      }
    }
    const lines = new Map(pc.getTransceivers().map((line) => [line.mid, line]));
    for (const { mid, publication, participant } of wanted.values()) {
      const receiver = lines.get(mid)?.receiver;
      if (receiver && !this.#received.has(publication)) {
        this.#received.set(publication, { mid, receiver });
        this.#emit('track', { publication, participant, track: receiver.track, receiver });
      }
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
