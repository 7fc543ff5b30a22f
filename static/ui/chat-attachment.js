import { messageKey } from '../sdk/errors.js';
import { language, t } from '../texts/index.js';
import { el, iconButton } from './dom.js';
import { icon } from './icons.js';

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];

/** @param {number} bytes @returns {string} such as `1.4 MB` */
export function sizeText(bytes) {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(1000)));
  const options = { style: 'unit', unit: UNITS[step], unitDisplay: step ? 'short' : 'long', maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language(), options).format(bytes / 1000 ** step);
}

/**
 * A message's file: its picture if it has one, its name, and a button that saves it.
 * @param {import('../sdk/files.js').Files} files
 * @param {string} id
 * @param {(text: string) => void} onError
 * @returns {HTMLElement}
 */
export function attachmentView(files, id, onError) {
  const element = el('div', { class: 'chat-file', testid: 'chat-file' });
  const failed = (error) => onError(t('chat.file.failed', { reason: t(messageKey(error.code)) }));
  files.info(id).then(
    async (info) => {
      const label = t('chat.file.save', { name: info.name });
      const save = el(
        'button',
        {
          type: 'button',
          testid: 'chat-file-save',
          'aria-label': label,
          title: label,
          on: { click: () => download(files, info).catch(failed) },
        },
        icon('file'),
        el('span', { text: info.name }),
        el('small', { text: sizeText(info.bytes) }),
      );
      element.append(save);
      if (info.width) await showThumbnail(files, info, element);
    },
    () => element.append(el('em', { text: t('chat.file.gone') })),
  );
  return element;
}

async function showThumbnail(files, info, element) {
  const blob = await files.thumbnail(info.id).catch(() => null); // too large a picture has none
  if (!blob) return;
  const url = URL.createObjectURL(blob);
  const image = el('img', { testid: 'chat-picture', src: url, alt: info.name });
  image.addEventListener('load', () => URL.revokeObjectURL(url));
  element.prepend(image);
}

async function download(files, info) {
  const url = URL.createObjectURL(await files.content(info.id));
  const link = el('a', { href: url, download: info.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Uploads under way, each with its progress and a button that stops it. */
export class UploadList {
  #files;
  #act;

  /**
   * @param {import('../sdk/files.js').Files} files
   * @param {{uploaded: (file: string) => Promise<unknown>, onError: (text: string) => void}} act
   */
  constructor(files, act) {
    this.#files = files;
    this.#act = act;
    this.element = el('div', { class: 'chat-uploads', testid: 'chat-uploads', 'aria-live': 'polite' });
  }

  /** @param {Iterable<File>} chosen each becomes a message of its own */
  async add(chosen) {
    for (const file of [...chosen]) await this.#upload(file);
  }

  async #upload(file) {
    const { largest } = this.#files;
    if (file.size > largest) {
      this.#act.onError(t('chat.file.too_large', { name: file.name, limit: sizeText(largest) }));
      return;
    }
    const stop = new AbortController();
    const bar = el('progress', { max: Math.max(file.size, 1), value: 0, 'aria-label': file.name, testid: 'chat-progress' });
    const row = el(
      'div',
      { class: 'chat-upload' },
      el('span', { text: file.name }),
      bar,
      iconButton({ testid: 'chat-upload-stop', icon: 'close', label: t('chat.file.stop'), on: () => stop.abort() }),
    );
    this.element.append(row);
    try {
      const info = await this.#files.upload(file, { signal: stop.signal, onProgress: (sent) => (bar.value = sent) });
      await this.#act.uploaded(info.id);
    } catch (error) {
      if (error.code !== 'cancelled') this.#act.onError(t('chat.file.failed', { reason: t(messageKey(error.code)) }));
    } finally {
      row.remove();
    }
  }
}
