/**
 * One error type with stable codes. Codes are the protocol's (docs/protocol.md) and the local ones below; the
 * text for people is found under `error.<code>` in the app's texts.
 */

/** Codes that arise in the browser, besides the protocol's. */
export const LOCAL_CODES = Object.freeze([
  'disconnected', // the signalling connection dropped before the answer came
  'timeout', // no answer in time
  'server_unreachable', // the first connection could not be made
  'media_denied', // the person or the system refused camera or microphone
  'media_missing', // no such device
  'media_busy', // another program holds the device
  'media_failed', // the device does not start for another reason
  'screen_cancelled', // the person closed the screen picker
  'insecure_context', // the page came over plain HTTP from another machine
  'cancelled', // the person stopped it
  'browser_unsupported', // no WebRTC in this browser
]);

/** Protocol codes with a text of their own. */
export const PROTOCOL_CODES = Object.freeze([
  'bad_request',
  'unknown_type',
  'rate_limited',
  'not_allowed',
  'not_found',
  'room_full',
  'too_many_rooms',
  'too_many_publications',
  'bad_sdp',
  'bad_state',
  'too_large',
  'resume_failed',
  'bad_token',
  'token_expired',
  'token_revoked',
  'keys_unavailable',
  'locked_out',
  'wrong_room',
  'room_locked',
  'codec_unsupported',
  'overloaded',
  'conflict',
  'judge_failed',
  'refused',
  'slow_receiver',
  'bad_offset',
  'quota_exceeded',
  'storage_failed',
  'left',
  'replaced',
  'removed',
  'denied',
  'protocol_error',
  'too_many_errors',
  'join_timeout',
  'ping_timeout',
  'going_away',
  'internal',
]);

const KNOWN = new Set([...LOCAL_CODES, ...PROTOCOL_CODES]);

/** An error with a stable `code`; `message` is for logs, not for people, `details` are the answer's other members. */
export class SfuError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {Record<string, any>} [details]
   */
  constructor(code, message = code, details = {}) {
    super(message);
    this.name = 'SfuError';
    this.code = code;
    this.details = details;
  }
}

/**
 * The key of the text that explains a code.
 * @param {string} code
 * @returns {string}
 */
export function messageKey(code) {
  return `error.${KNOWN.has(code) ? code : 'internal'}`;
}

const MEDIA_CODES = {
  NotAllowedError: 'media_denied',
  SecurityError: 'media_denied',
  NotFoundError: 'media_missing',
  OverconstrainedError: 'media_missing',
  DevicesNotFoundError: 'media_missing',
  NotReadableError: 'media_busy',
  AbortError: 'media_failed',
};

/**
 * What `getUserMedia` or `getDisplayMedia` threw, as an `SfuError`.
 * @param {unknown} error
 * @returns {SfuError}
 */
export function mediaError(error) {
  if (error instanceof SfuError) return error;
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  return new SfuError(MEDIA_CODES[name] ?? 'media_failed', String(error));
}
