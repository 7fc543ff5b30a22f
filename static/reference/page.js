/** The reference of the HTTP API: what the server's OpenAPI document says, and a form to try what only reads. */
import { detectLanguage, t } from '../texts/index.js';
import { el } from '../ui/dom.js';

const DOCUMENT = '/api/v1/openapi.json';

/**
 * A schema in a line or a few, as one would write an example.
 * @param {any} schema
 * @param {string} [indent]
 * @returns {string}
 */
export function shape(schema, indent = '') {
  if (schema.anyOf) return schema.anyOf.map((each) => shape(each, indent)).join(' | ');
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(' | ');
  if (schema.type === 'array') return `[${shape(schema.items, indent)}]`;
  if (schema.type !== 'object' || !schema.properties) return (schema.type ?? 'any') + limits(schema);
  const deeper = `${indent}  `;
  const members = Object.entries(schema.properties).map(([name, each]) => {
    const optional = schema.required?.includes(name) ? '' : '?';
    return `${deeper}${name}${optional}: ${shape(each, deeper)}`;
  });
  return members.length ? `{\n${members.join(',\n')}\n${indent}}` : '{}';
}

function limits(schema) {
  const { minimum, maximum, minLength, maxLength } = schema;
  if (maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER) return ` ${minimum}..${maximum}`;
  if (maxLength !== undefined) return ` (${minLength ?? 0}..${maxLength})`;
  return schema.description ? ` (${schema.description})` : '';
}

function parameters(list) {
  const rows = list.map((each) =>
    el(
      'tr',
      {},
      el('td', {}, el('code', { text: each.name })),
      el('td', { text: t(`api.in.${each.in}`) }),
      el('td', {}, el('code', { text: shape(each.schema) })),
    ),
  );
  return rows.length > 0 && el('table', {}, el('tbody', {}, ...rows));
}

function responses(all) {
  const rows = Object.entries(all).map(([status, each]) => {
    const [type, content] = Object.entries(each.content)[0];
    const answer = content.schema.$ref ? each.description : type === 'application/json' ? shape(content.schema) : type;
    return el('tr', {}, el('th', { scope: 'row', text: status }), el('td', {}, el('pre', { text: answer })));
  });
  return el('table', {}, el('tbody', {}, ...rows));
}

function tryIt(path, operation, credential) {
  const inputs = operation.parameters.map((each) => {
    const input = el('input', { name: each.name, placeholder: each.name, 'aria-label': each.name, autocomplete: 'off' });
    return { ...each, input };
  });
  const shown = el('pre', { hidden: true, 'aria-live': 'polite', testid: 'api-answer' });
  const ask = async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const { name, in: where, input } of inputs) {
      if (where === 'path') url = url.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(name, input.value);
    }
    const headers = credential.value ? { Authorization: `Bearer ${credential.value}` } : {};
    shown.hidden = false;
    try {
      const answer = await fetch(query.size ? `${url}?${query}` : url, { headers });
      const text = await answer.text();
      const json = answer.headers.get('Content-Type')?.startsWith('application/json');
      shown.textContent = `${answer.status}\n${json ? JSON.stringify(JSON.parse(text), null, 2) : text}`;
    } catch {
      shown.textContent = t('api.unreachable');
    }
  };
  const button = el('button', { type: 'submit', text: t('api.send') });
  return el('form', { on: { submit: ask } }, ...inputs.map((each) => each.input), button, shown);
}

function operationView(path, method, operation, credential) {
  const body = operation.requestBody?.content ?? {};
  const json = body['application/json']?.schema;
  const raw = body['application/octet-stream'] && t('api.bytes');
  return el(
    'details',
    { id: operation.operationId, testid: `api-${operation.operationId}` },
    el(
      'summary',
      {},
      el('span', { class: 'method', text: method.toUpperCase() }),
      el('code', { text: path }),
      el('span', { class: 'about', text: operation.summary }),
    ),
    el(
      'div',
      { class: 'body' },
      el('p', { class: 'who', text: operation.description }),
      parameters(operation.parameters),
      (json || raw) && el('h3', { text: t('api.body') }),
      (json || raw) && el('pre', { text: json ? shape(json) : raw }),
      el('h3', { text: t('api.answers') }),
      responses(operation.responses),
      method === 'get' && tryIt(path, operation, credential),
    ),
  );
}

async function show(page) {
  const answer = await fetch(DOCUMENT);
  const described = await answer.json();
  const credential = el('input', { type: 'password', autocomplete: 'off', testid: 'api-token', id: 'token' });
  const groups = new Map();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [tag] = operation.tags;
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationView(path, method, operation, credential));
    }
  }
  page.replaceChildren(
    el('h1', { text: t('api.title') }),
    el('p', { class: 'lead', text: t('api.lead', { version: described.info.version }) }),
    el('p', {}, el('a', { href: DOCUMENT, text: 'openapi.json' })),
    el('div', { class: 'credential' }, el('label', { for: 'token', text: t('api.token') }), credential),
    ...[...groups].flatMap(([tag, views]) => [el('h2', { text: tag }), ...views]),
  );
}

detectLanguage(window.location.search);
const page = document.getElementById('page');
show(page).catch(() => page.replaceChildren(el('p', { text: t('api.unreachable') })));
