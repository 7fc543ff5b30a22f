/**
 * What is to be seen of a room, as plain data.
 *
 * @typedef {object} TileView
 * @property {string} key stays the same while the tile stands for the same thing
 * @property {string} participant id
 * @property {string} name
 * @property {'camera' | 'screen' | 'other'} source
 * @property {boolean} local
 * @property {string | null} publication of the picture, null without
 * @property {MediaStreamTrack | null} track
 * @property {boolean} video whether there should be a picture
 * @property {boolean} muted whether the microphone is off
 * @property {'good' | 'connecting' | 'lost'} connection
 * @property {boolean} reconnecting
 * @property {boolean} speaking
 * @property {boolean} hand whether the hand is up
 * @property {string} note key of a text that says why there is no picture, empty without
 */

/** Why the server pauses a picture that is wanted. */
const PAUSED = new Set(['bandwidth', 'last_n', 'no_m_line']);

const CONNECTION = { new: 'connecting', connecting: 'connecting', connected: 'good' };

/**
 * @param {import('../sdk/room.js').Room} room
 * @param {{tracks: Map<string, MediaStreamTrack>, subscriptions: Map<string, {state: string, reason: string}>,
 *   speaking: Set<string>}} seen
 * @returns {TileView[]} screens first, then the others in the order they came, oneself last
 */
export function describeTiles(room, seen) {
  // Those in other breakout rooms are neither seen nor heard, and who only watches has no picture to show.
  const here = [...room.participants.values()].filter(
    (each) => (each.breakout ?? null) === (room.self?.breakout ?? null) && !each.grants?.hidden,
  );
  const views = here.flatMap((each) => remoteTiles(each, room, seen));
  if (room.self) views.push(...localTiles(room, seen));
  const rank = (view) => (view.source === 'screen' ? 0 : view.local ? 2 : 1);
  return views.sort((a, b) => rank(a) - rank(b));
}

function remoteTiles(participant, room, seen) {
  const publications = [...participant.publications.values()];
  const videos = publications.filter((each) => each.kind === 'video');
  const audio =
    publications.find((each) => each.source === 'microphone') ??
    publications.find((each) => each.kind === 'audio' && each.source === 'other');
  const face = videos.find((each) => each.source === 'camera') ?? videos.find((each) => each.source === 'other');
  const base = {
    participant: participant.id,
    name: participant.name,
    local: false,
    muted: !audio || audio.muted,
    connection: connectionOf(room.transports.subscribe, participant.state, publications.length > 0),
    reconnecting: participant.state === 'reconnecting',
    speaking: seen.speaking.has(participant.id),
    hand: handUp(room, participant.id),
  };
  const view = (key, source, publication) => {
    const track = (publication && seen.tracks.get(publication.id)) ?? null;
    const video = Boolean(publication) && !publication.muted;
    const note = video ? noteOf(seen.subscriptions.get(publication.id)) : '';
    return { ...base, key, source, publication: publication?.id ?? null, track, video, note };
  };
  const tiles = [view(`${participant.id}/face`, 'camera', face)];
  for (const extra of videos) {
    if (extra === face) continue;
    const source = extra.source === 'screen' ? 'screen' : 'other';
    tiles.push({ ...view(`${participant.id}/${extra.id}`, source, extra), speaking: false });
  }
  return tiles;
}

function localTiles(room, seen) {
  const { self, publications } = room;
  const bySource = (source) => publications.find((each) => each.source === source);
  const camera = bySource('camera');
  const microphone = bySource('microphone');
  const screen = bySource('screen');
  const base = {
    participant: self.id,
    name: self.name,
    local: true,
    muted: !microphone || microphone.muted,
    connection: room.state === 'reconnecting' ? 'lost' : (CONNECTION[room.transports.publish] ?? 'lost'),
    reconnecting: false,
    speaking: seen.speaking.has(self.id),
    hand: handUp(room, self.id),
    note: '',
  };
  const view = (key, source, publication) => ({
    ...base,
    key,
    source,
    publication: publication?.id ?? null,
    track: publication?.track ?? null,
    video: Boolean(publication?.track) && !publication.muted,
  });
  const tiles = [view('self/face', 'camera', camera)];
  if (screen) tiles.push({ ...view('self/screen', 'screen', screen), speaking: false });
  return tiles;
}

function connectionOf(transport, state, publishes) {
  if (state === 'reconnecting') return 'connecting';
  if (!publishes) return 'good';
  return CONNECTION[transport] ?? 'lost';
}

function noteOf(subscription) {
  if (subscription?.state === 'paused' && PAUSED.has(subscription.reason)) return `tile.paused.${subscription.reason}`;
  if (subscription?.state === 'failed') {
    return subscription.reason === 'not_allowed' ? 'tile.failed.not_allowed' : 'tile.failed.codec';
  }
  return '';
}

function handUp(room, participant) {
  return room.classroom?.hands.some((each) => each.participant === participant) ?? false;
}
