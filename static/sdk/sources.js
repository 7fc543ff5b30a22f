/** What a participant can publish. */
export const SOURCES = Object.freeze(['camera', 'microphone', 'screen', 'screen_audio', 'other']);
