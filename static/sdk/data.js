/** Data-channel messages: two bytes of header length, a JSON header, the payload. See docs/protocol.md. */

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The two channels and how they are made. */
export const CHANNELS = Object.freeze({
  reliable: Object.freeze({ ordered: true }),
  lossy: Object.freeze({ ordered: false, maxRetransmits: 0 }),
});

/**
 * @param {object} header
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function pack(header, payload) {
  const head = encoder.encode(JSON.stringify(header));
  if (head.length > 0xffff) throw new RangeError('the header is too long');
  const message = new Uint8Array(2 + head.length + payload.length);
  new DataView(message.buffer).setUint16(0, head.length);
  message.set(head, 2);
  message.set(payload, 2 + head.length);
  return message;
}

/**
 * @param {ArrayBuffer} message
 * @returns {{header: Record<string, any>, payload: Uint8Array, text: string | null, content: any} | null}
 *   null for what is not such a message; `content` is the payload as its sender meant it, `text` it where it is text
 */
export function unpack(message) {
  try {
    const length = new DataView(message).getUint16(0);
    const header = JSON.parse(decoder.decode(new Uint8Array(message, 2, length)));
    const payload = new Uint8Array(message, 2 + length);
    const text = header.text ? decoder.decode(payload) : null;
    return { header, payload, text, content: header.json ? JSON.parse(decoder.decode(payload)) : (text ?? payload) };
  } catch {
    return null;
  }
}

/**
 * @param {any} content text, bytes, or else what JSON can say
 * @returns {{payload: Uint8Array, text?: true, json?: true}} with the header's members that say what it is
 */
export function encodeContent(content) {
  if (typeof content === 'string') return { payload: encoder.encode(content), text: true };
  if (content instanceof ArrayBuffer) return { payload: new Uint8Array(content) };
  if (content instanceof Uint8Array) return { payload: content };
  return { payload: encoder.encode(JSON.stringify(content)), json: true };
}
