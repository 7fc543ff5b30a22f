import { SOURCES } from '../sdk/sources.js';
import { t } from '../texts/index.js';
import { mayPublish } from './call-media.js';

/**
 * What a moderator can do to somebody now, as requests of the protocol.
 * @param {{id: string, name: string, role: string, grants: Record<string, any>, muted: boolean, hand: number}} person
 * @param {import('../sdk/room.js').Room} room
 * @returns {{testid: string, label: string, type: string, members: object, danger?: boolean, confirm?: string}[]}
 *   `confirm` is what to ask before
 */
export function moderationOf(person, room) {
  const { id, name, role, grants } = person;
  const mine = room.self.role === 'owner';
  if (role === 'owner' && !mine) return [];
  const one = (testid, key, type, members = {}, danger = false) => ({
    testid,
    label: t(key),
    type,
    members: { participant: id, ...members },
    danger,
  });
  const allow = (source, testid) =>
    mayPublish(grants, source)
      ? one(`${testid}-deny`, `moderate.${source}.deny`, 'set_grants', { grants: { publish: without(grants, source) } })
      : one(`${testid}-allow`, `moderate.${source}.allow`, 'set_grants', { grants: { publish: withSource(grants, source) } });
  const owner = room.classroom.room.template === 'classroom' ? 'moderate.teacher' : 'moderate.owner';
  // Who was given a pass came without a token, and so did all others.
  const tokens = !room.pass;
  const spotlit = room.classroom.room.spotlight?.participant === id;
  return [
    ...(person.hand ? [one('call-on', 'moderate.call_on', 'call_on'), one('lower-hand', 'moderate.lower_hand', 'lower_hand')] : []),
    ...(person.muted ? [] : [one('mute', 'moderate.mute', 'mute_participant')]),
    allow('microphone', 'mic'),
    allow('camera', 'camera'),
    allow('screen', 'screen'),
    grants.chat
      ? one('chat-deny', 'moderate.chat.deny', 'set_grants', { grants: { chat: false } })
      : one('chat-allow', 'moderate.chat.allow', 'set_grants', { grants: { chat: true } }),
    spotlit
      ? { ...one('spotlight-end', 'moderate.spotlight.end', 'spotlight'), members: { participant: null } }
      : one('spotlight', 'moderate.spotlight', 'spotlight'),
    ...(room.self.grants.record && role !== 'owner'
      ? [
          grants.record
            ? one('record-deny', 'moderate.record.deny', 'set_grants', { grants: { record: false } })
            : one('record-allow', 'moderate.record.allow', 'set_grants', { grants: { record: true } }),
        ]
      : []),
    ...(role === 'presenter'
      ? [one('make-participant', 'moderate.participant', 'set_role', { role: 'participant' })]
      : [one('make-presenter', 'moderate.presenter', 'set_role', { role: 'presenter' })]),
    ...(mine && ['participant', 'presenter'].includes(role)
      ? [{ ...one('make-owner', owner, 'set_role', { role: 'owner' }), confirm: t('moderate.owner.confirm', { name }) }]
      : []),
    { ...one('remove', 'moderate.remove', 'remove', {}, true), confirm: t('moderate.remove.confirm', { name }) },
    ...(tokens && role === 'device'
      ? [{ ...one('revoke', 'moderate.revoke', 'revoke', {}, true), confirm: t('moderate.revoke.confirm', { name }) }]
      : []),
  ];
}

function sourcesOf({ publish }) {
  if (Array.isArray(publish)) return publish;
  return publish ? [...SOURCES] : [];
}

// Who may not speak may not do so as the sound of a screen either.
const TOGETHER = { microphone: ['microphone', 'screen_audio'] };

function without(grants, source) {
  const taken = TOGETHER[source] ?? [source];
  return sourcesOf(grants).filter((each) => !taken.includes(each));
}

function withSource(grants, source) {
  return [...new Set([...sourcesOf(grants), ...(TOGETHER[source] ?? [source])])];
}
