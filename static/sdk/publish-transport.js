import { ConnectionWatch } from './connection-watch.js';
import { CHANNELS, unpack } from './data.js';
import { preferCodec, tuneOpus, videoEncodings, withoutLayers } from './encodings.js';
import { SfuError } from './errors.js';
import { SerialQueue } from './queue.js';
import { Senders } from './senders.js';

/** @typedef {import('./local-publication.js').LocalPublication} LocalPublication */

const MOST_ATTEMPTS = 6;
/** A data channel that has drained to this many bytes says so. */
const LOW_BUFFERED = 65_536;

/**
 * The transport this client sends on: one RTCPeerConnection whose offers are made here.
 *
 * Events: `state` (`{state}`: the connection's), `data` (`{label, header, payload, text, content}`), `channel`
 * (`{label}`: it opened), `drained` (`{label}`: it takes more), `published` (`{publication, muted}`: it has an id, and `muted` is what the server
 * was told), `refused` (`{publication, error}`: it was there before and is no longer accepted).
 *
 * Candidates are not sent: the server is ICE-lite and learns addresses from the checks themselves.
 */
export class PublishTransport extends EventTarget {
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  #iceServers = [];
  #ask;
  #codec;
  #policy;
  #queue = new SerialQueue();
  #senders = new Senders();
  /** What is watched of each publication. @type {Map<string, import('./senders.js').WantedEncoding[]>} */
  #layers = new Map();
  /** @type {Promise<void> | null} */
  #planned = null;
  /** What is sent, with its m-line. @type {Map<LocalPublication, RTCRtpTransceiver>} */
  #live = new Map();
  /** m-lines out of use. @type {Map<RTCRtpTransceiver, string>} */
  #idle = new Map();
  /** The shape of each m-line's encodings, which never changes. @type {WeakMap<RTCRtpTransceiver, string>} */
  #shapes = new WeakMap();
  /** @type {Map<LocalPublication, {resolve: () => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  /** @type {Map<string, RTCDataChannel>} */
  #channels = new Map();
  #watch = null;

  /**
   * @param {{negotiate: (sdp: string, media: object[]) => Promise<{sdp: string, media: object[]}>,
   *   codec?: string, iceTransportPolicy?: RTCIceTransportPolicy}} options `negotiate` sends an offer and returns the answer
   */
  constructor({ negotiate, codec = 'vp8', iceTransportPolicy = 'all' }) {
    super();
    this.#ask = negotiate;
    this.#codec = codec;
    this.#policy = iceTransportPolicy;
  }

  /** @returns {RTCPeerConnectionState} */
  get state() {
    return this.#pc?.connectionState ?? 'closed';
  }

  /**
   * Open, or open anew: one offer carries every publication.
   * @param {RTCIceServer[]} iceServers
   * @param {Iterable<LocalPublication>} publications
   */
  open(iceServers, publications) {
    const all = new Set(publications);
    this.close();
    this.#iceServers = iceServers;
    const pc = new RTCPeerConnection({
      iceServers,
      iceTransportPolicy: this.#policy,
      bundlePolicy: 'max-bundle',
      rtcpMuxPolicy: 'require',
    });
    this.#pc = pc;
    this.#watch = new ConnectionWatch(pc, {
      onState: (state) => this.#emit('state', { state }),
      restart: () => this.restart(),
      rebuild: () => this.reopen(),
    });
    for (const [label, init] of Object.entries(CHANNELS)) this.#openChannel(label, init);
    for (const publication of all) {
      publication.id = null;
      this.#attach(publication);
    }
    this.#negotiate().catch(() => undefined); // who waits for a publication is told
  }

  /** The transport is beyond repair: open it anew with everything that was sent. */
  reopen() {
    this.open(this.#iceServers, this.#live.keys());
  }

  /** @param {RTCIceServer[]} iceServers fresh credentials for later restarts */
  setIceServers(iceServers) {
    this.#iceServers = iceServers;
    this.#pc?.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
  }

  /**
   * @param {LocalPublication} publication
   * @returns {Promise<void>} when the server has accepted it; rejects with its `SfuError`
   */
  async add(publication) {
    const accepted = this.accepted(publication);
    if (this.#pc) {
      this.#attach(publication);
      this.#negotiate().catch(() => undefined);
    }
    await accepted;
  }

  /**
   * @param {LocalPublication} publication
   * @returns {Promise<void>} when the server has accepted it, by whichever negotiation
   */
  accepted(publication) {
    return new Promise((resolve, reject) => this.#waiting.set(publication, { resolve, reject }));
  }

  /** @param {LocalPublication} publication which is no longer sent; its m-line is kept for another */
  async remove(publication) {
    this.#waiting.get(publication)?.reject(new SfuError('left', 'unpublished'));
    this.#waiting.delete(publication);
    if (this.#release(publication)) await this.#negotiate();
  }

  /**
   * Send another track, or none, without negotiating.
   * @param {LocalPublication} publication
   * @param {MediaStreamTrack | null} track
   */
  async replaceTrack(publication, track) {
    publication.track = track;
    const line = this.#live.get(publication);
    if (line) await this.#senders.replaceTrack(line.sender, track);
  }

  /**
   * Send of a publication what somebody watches.
   * @param {string} id
   * @param {import('./senders.js').WantedEncoding[]} encodings
   */
  setLayers(id, encodings) {
    this.#layers.set(id, encodings);
    for (const [publication, line] of this.#live) {
      if (publication.id === id) this.#activate(line, encodings);
    }
  }

  /** Restart ICE: new credentials, new paths, the same DTLS association. */
  restart() {
    this.#pc?.restartIce();
    this.#negotiate().catch(() => undefined);
  }

  /** The machine's network changed. */
  networkChanged() {
    this.#watch?.networkChanged();
  }

  /**
   * @param {string} label
   * @returns {number | null} bytes that wait in the channel, null while it is not open
   */
  buffered(label) {
    const channel = this.#channels.get(label);
    return channel?.readyState === 'open' ? channel.bufferedAmount : null;
  }

  /**
   * @param {string} label
   * @param {Uint8Array<ArrayBuffer>} message
   */
  sendData(label, message) {
    const channel = this.#channels.get(label);
    if (channel?.readyState !== 'open') throw new SfuError('disconnected', `${label} is not open`);
    channel.send(message);
  }

  /**
   * @param {LocalPublication} publication
   * @returns {Promise<RTCStatsReport> | undefined}
   */
  getStats(publication) {
    return this.#live.get(publication)?.sender.getStats();
  }

  close() {
    this.#watch?.stop();
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
    this.#pc?.close();
    this.#pc = null;
    this.#planned = null;
    this.#live.clear();
    this.#idle.clear();
    this.#layers.clear();
  }

  /**
   * Close for good; who waits for a publication is told.
   * @param {SfuError} error
   */
  end(error) {
    this.close();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  // --- m-lines ---------------------------------------------------------------------------------

  #attach(publication) {
    const { track, kind, source } = publication;
    const encodings =
      kind === 'video'
        ? videoEncodings({ ...publication, codec: this.#codec })
        : [
            {
              maxBitrate: source === 'screen_audio' ? 128_000 : 40_000,
              priority: 'high',
              networkPriority: 'high',
            },
          ];
    const shape = `${kind} ${encodings.map((each) => `${each.rid ?? ''} ${each.scalabilityMode ?? ''}`).join(';')}`;
    const transceiver = this.#reuse(shape, track) ?? this.#add(track ?? kind, encodings);
    this.#shapes.set(transceiver, shape);
    if (kind === 'video') this.#prefer(transceiver);
    this.#live.set(publication, transceiver);
  }

  #add(trackOrKind, encodings) {
    try {
      return this.#pc.addTransceiver(trackOrKind, { direction: 'sendonly', sendEncodings: encodings });
    } catch (error) {
      if (error.name !== 'OperationError') throw error;
      return this.#pc.addTransceiver(trackOrKind, {
        direction: 'sendonly',
        sendEncodings: withoutLayers(encodings),
      });
    }
  }

  #reuse(shape, track) {
    for (const [transceiver, had] of this.#idle) {
      if (had === shape) {
        this.#idle.delete(transceiver);
        transceiver.direction = 'sendonly';
        this.#senders.replaceTrack(transceiver.sender, track).catch(() => undefined); // of a closed connection only
        this.#activate(transceiver, []);
        return transceiver;
      }
    }
    return undefined;
  }

  #prefer(transceiver) {
    for (const side of [RTCRtpSender, RTCRtpReceiver]) {
      const codecs = side.getCapabilities('video')?.codecs ?? [];
      try {
        transceiver.setCodecPreferences(preferCodec(codecs, this.#codec));
        return;
      } catch {
        // Older browsers take only what they also receive: the second round.
      }
    }
  }

  #release(publication) {
    const transceiver = this.#live.get(publication);
    if (!transceiver) return false;
    this.#live.delete(publication);
    this.#layers.delete(publication.id ?? '');
    publication.id = null;
    transceiver.direction = 'inactive';
    this.#senders.replaceTrack(transceiver.sender, null).catch(() => undefined);
    this.#idle.set(transceiver, this.#shapes.get(transceiver) ?? '');
    return true;
  }

  #activate(transceiver, encodings) {
    this.#senders.activate(transceiver.sender, encodings).catch(() => undefined); // of a closed connection only
  }

  #openChannel(label, init) {
    const channel = this.#pc.createDataChannel(label, init);
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW_BUFFERED;
    channel.onopen = () => this.#emit('channel', { label });
    channel.onbufferedamountlow = () => this.#emit('drained', { label });
    channel.onmessage = ({ data }) => {
      const message = unpack(data);
      if (message) this.#emit('data', { label, ...message });
    };
    this.#channels.set(label, channel);
  }

  // --- negotiation -----------------------------------------------------------------------------

  /** One exchange soon; changes made until it starts share it. */
  #negotiate() {
    const pc = this.#pc;
    if (!pc) return Promise.resolve();
    this.#planned ??= this.#queue.run(() => {
      if (pc !== this.#pc) throw new SfuError('disconnected', 'the transport was opened anew');
      this.#planned = null;
      return this.#exchange(pc);
    });
    return this.#planned;
  }

  async #exchange(pc) {
    try {
      for (let attempt = 1; ; attempt++) {
        await pc.setLocalDescription();
        const offered = [...this.#live].filter(([, line]) => line.mid !== null).map(describe);
        const sources = new Map(offered.map(({ media }) => [media.mid, media.source]));
        try {
          const answer = await this.#ask(
            tuneOpus(pc.localDescription.sdp, sources),
            offered.map(({ media }) => media),
          );
          if (pc !== this.#pc) return;
          await pc.setRemoteDescription({ type: 'answer', sdp: tuneOpus(answer.sdp, sources) });
          this.#settle(offered, answer.media);
          return;
        } catch (error) {
          if (pc !== this.#pc) return;
          if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
          const again = error.code === 'disconnected' || error.code === 'timeout';
          if (!again || attempt >= MOST_ATTEMPTS) throw error;
        }
      }
    } catch (error) {
      if (pc !== this.#pc) return;
      for (const publication of [...this.#live.keys()].filter((each) => each.id === null)) {
        this.#release(publication);
        this.#fail(publication, error);
      }
      throw error;
    }
  }

  #settle(offered, media) {
    const results = new Map(media.map((each) => [each.mid, each]));
    for (const { publication, line, media: told } of offered) {
      if (this.#live.get(publication) !== line) continue;
      const { publication: id, error } = results.get(line.mid) ?? { error: 'bad_sdp' };
      if (id) {
        const fresh = publication.id !== id;
        publication.id = id;
        if (fresh && this.#layers.has(id)) this.#activate(line, this.#layers.get(id));
        this.#waiting.get(publication)?.resolve();
        this.#waiting.delete(publication);
        if (fresh) this.#emit('published', { publication, muted: told.muted });
      } else {
        this.#release(publication);
        this.#fail(publication, new SfuError(error));
      }
    }
  }

  #fail(publication, error) {
    const waiting = this.#waiting.get(publication);
    this.#waiting.delete(publication);
    if (waiting) waiting.reject(error);
    else this.#emit('refused', { publication, error });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function describe([publication, line]) {
  const { source, name, muted } = publication;
  return { publication, line, media: { mid: line.mid, source, name, muted } };
}
