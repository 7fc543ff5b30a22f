const MOODS =
  'amber brave bright calm clever cosy crisp gentle golden happy jolly keen kind lively lucky mellow merry mighty noble quick quiet rapid rosy silver smooth snowy sunny swift tidy warm wise witty'.split(
    ' ',
  );
const BEINGS =
  'badger bear beaver crane deer dolphin eagle falcon finch fox gecko hare heron ibis koala lark lynx marten moose otter owl panda puffin raven robin seal swan tiger toucan whale wolf wren'.split(
    ' ',
  );

/** @returns {string} a room name easy to say and hard to guess, such as `calm-otter-4821` */
export function randomRoomName() {
  const [mood, being, number] = crypto.getRandomValues(new Uint32Array(3));
  return `${MOODS[mood % MOODS.length]}-${BEINGS[being % BEINGS.length]}-${1000 + (number % 9000)}`;
}

/**
 * @param {string} text a room name, or a whole invite link
 * @returns {string} the room name, empty where there is none
 */
export function roomOf(text) {
  const trimmed = text.trim();
  const inLink = /\/r\/([^/?#]+)/.exec(trimmed)?.[1];
  if (inLink === undefined) return trimmed.slice(0, 128);
  try {
    return decodeURIComponent(inLink).slice(0, 128);
  } catch {
    return '';
  }
}
