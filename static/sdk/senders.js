import { SerialQueue } from './queue.js';

/** @typedef {{rid?: string, active: boolean}} WantedEncoding without a `rid` it stands for every encoding */

/**
 * Changes to RTCRtpSenders, one after the other for each: parameters are read, changed and written as a whole,
 * and no other change may come between.
 */
export class Senders {
  /** @type {WeakMap<RTCRtpSender, SerialQueue>} */
  #queues = new WeakMap();
  /** @type {WeakMap<RTCRtpSender, WantedEncoding[]>} */
  #wanted = new WeakMap();

  /**
   * @param {RTCRtpSender} sender
   * @param {MediaStreamTrack | null} track
   */
  replaceTrack(sender, track) {
    return this.#queue(sender).run(() => sender.replaceTrack(track));
  }

  /**
   * Send these encodings and not the others; those not named are sent. Of changes that wait only the last counts.
   * @param {RTCRtpSender} sender
   * @param {WantedEncoding[]} wanted
   */
  activate(sender, wanted) {
    this.#wanted.set(sender, wanted);
    return this.#queue(sender).run(async () => {
      const parameters = sender.getParameters();
      const active = parameters.encodings.map((each) => isActive(this.#wanted.get(sender), each.rid));
      if (parameters.encodings.every((each, index) => each.active === active[index])) return;
      for (const [index, each] of parameters.encodings.entries()) each.active = active[index];
      await sender.setParameters(parameters);
    });
  }

  #queue(sender) {
    let queue = this.#queues.get(sender);
    if (!queue) this.#queues.set(sender, (queue = new SerialQueue()));
    return queue;
  }
}

function isActive(wanted, rid) {
  return wanted.find((each) => each.rid === undefined || each.rid === rid)?.active ?? true;
}
