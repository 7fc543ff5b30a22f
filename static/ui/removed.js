import { language, t } from '../texts/index.js';
import { ask } from './dialogs.js';
import { el, refill } from './dom.js';
import { askOfRoom } from './room-api.js';

/**
 * List who was removed from the room and stays out, and let them come back.
 * @param {import('../sdk/room.js').Room} room
 * @param {(error: Error & {code: string}) => void} onError
 * @returns {Promise<void>} when the dialog is closed
 */
export async function removedDialog(room, onError) {
  /** @type {{identity: string, at_ms: number}[]} */
  let removed;
  try {
    ({ removed } = await (await askOfRoom(room, 'removed')).json());
  } catch (error) {
    onError(error);
    return;
  }
  const list = el('ul', { class: 'removed-people', testid: 'removed-list' });
  const nobody = el('p', { role: 'status', testid: 'removed-nobody', text: t('removed.nobody') });
  const readmit = async (identity) => {
    try {
      await askOfRoom(room, 'readmit', { identity });
    } catch (error) {
      // Another moderator was first: it is done all the same.
      if (error.code !== 'not_found') return onError(error);
    }
    removed = removed.filter((each) => each.identity !== identity);
    draw();
  };
  const draw = () => {
    nobody.hidden = removed.length > 0;
    refill(list, ...removed.map((each) => line(each, readmit)));
  };
  draw();
  await ask({
    title: t('removed.title'),
    code: 'removed-people',
    icon: 'door',
    body: [t('removed.lead'), nobody, list],
    actions: [{ label: t('dialog.close'), value: '', testid: 'dialog-close' }],
  });
}

function line({ identity, at_ms: at }, readmit) {
  const when = new Date(at).toLocaleString(language(), { dateStyle: 'short', timeStyle: 'short' });
  return el(
    'li',
    { testid: 'removed-person', data: { key: identity } },
    el('span', { text: identity }),
    el('small', { text: when }),
    el('button', {
      type: 'button',
      class: 'quiet',
      testid: 'readmit',
      text: t('removed.readmit'),
      'aria-label': t('removed.readmit.name', { name: identity }),
      on: { click: () => readmit(identity) },
    }),
  );
}
