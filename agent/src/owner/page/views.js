// The access list, the remote users and the audit log: what the owner manages (R66).

import { alien, count, doing, el, field, spanFields, sure, tell, when } from './dom.js';
import { api } from './net.js';
import { BY, KINDS, kindWords, resources, says } from './words.js';

const options = (pairs, chosen) => pairs.map(([value, words]) => el('option', { value, selected: value === chosen }, words));

// A form whose button is pressed with Enter too, and that is emptied when it went well.
function form(button, fields, act) {
  const element = el('form', { class: 'fields', onsubmit: (event) => {
    event.preventDefault();
    doing(element, async () => {
      await act();
      element.reset();
      element.dispatchEvent(new Event('input'));
    });
  } }, fields, el('div', { class: 'actions' }, el('button', { class: 'primary' }, button)));
  return element;
}

function userNames() {
  const list = el('datalist', { id: 'names' });
  api('GET', '/api/users').then(({ users }) => list.replaceChildren(...users.map(({ name }) => el('option', { value: name }))), () => {});
  return list;
}

// The kind of an entry, with what belongs to it.
function kindFields(chosen = 'unlimited', id = 'kind') {
  const kind = el('select', { id }, options(KINDS, chosen));
  const time = spanFields(`${id}-time`);
  const times = el('input', { type: 'number', min: 1, max: 1000000, step: 1, required: true, inputmode: 'numeric', value: '5' });
  const timeField = field('For', time.fields);
  const timesField = field('Times', times);
  const fit = () => {
    timeField.hidden = kind.value !== 'temporary';
    timesField.hidden = kind.value !== 'number-of-times';
    time.number.disabled = timeField.hidden;
    times.disabled = timesField.hidden;
  };
  kind.addEventListener('change', fit);
  fit();
  const value = () => ({
    kind: kind.value,
    ...(kind.value === 'temporary' && { seconds: time.seconds() }),
    ...(kind.value === 'number-of-times' && { times: Number(times.value) }),
  });
  return { fields: [field('Access', kind), timeField, timesField], value, fit };
}

export function access() {
  const list = el('ul', { class: 'cards', 'aria-label': 'Entries' });
  const about = el('p', { class: 'about', role: 'status' });
  const user = el('select', { required: true });
  const names = async () => {
    const { users } = await api('GET', '/api/users');
    const chosen = user.value;
    user.replaceChildren(...options(users.map(({ name }) => [name, name]), chosen));
  };
  const resource = el('select', {}, options([['*', 'everything'], ...[...resources.keys()].map((name) => [name, name])]));
  const action = el('select', {});
  const kind = kindFields();
  const fit = () => {
    const actions = resources.get(resource.value);
    action.replaceChildren(...options([['*', 'everything with it'], ...(actions ?? [])]));
    action.disabled = !actions;
    kind.fit();
  };
  resource.addEventListener('change', fit);
  fit();
  const add = form('Add entry', [field('Remote user', user), field('Resource', resource), field('To', action), ...kind.fields], async () => {
    const entry = { user: user.value, resource: resource.value, action: action.value || '*', ...kind.value() };
    await api('POST', '/api/access', entry);
    tell(['The access list has the entry for ', alien(entry.user), '.']);
    await draw();
  });
  add.addEventListener('input', (event) => event.target === add && fit());

  const left = (entry) => {
    if (entry.expired) return 'Its time is over';
    if (entry.kind === 'temporary') return ['until ', when(entry.until)];
    if (entry.kind === 'number-of-times') return `${count(entry.uses_left, 'use')} left`;
    return '';
  };
  const card = (entry) => {
    const denies = entry.kind === 'permanently-denied' || entry.kind === 'once-denied';
    const more = el('div', { class: 'inline' });
    const change = el('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', onclick: () => {
      const open = change.getAttribute('aria-expanded') === 'true';
      change.setAttribute('aria-expanded', String(!open));
      if (open) return more.replaceChildren();
      const kind = kindFields(entry.kind, `kind-${entry.id}`);
      more.replaceChildren(form('Change entry', kind.fields, async () => {
        await api('PUT', `/api/access/${encodeURIComponent(entry.id)}`, kind.value());
        tell('The entry is changed.');
        await draw();
      }));
      return more.querySelector('select').focus();
    } }, 'Change');
    const remove = sure('Delete', 'Delete this entry?', async () => {
      await api('DELETE', `/api/access/${encodeURIComponent(entry.id)}`);
      tell('The entry is deleted.');
      await draw();
    });
    return el('li', { class: 'card' },
      el('p', { class: 'line' }, alien(entry.user, 'b'), ` may ${denies ? 'not ' : ''}${says(entry.resource, entry.action, denies)}`),
      el('p', { class: 'soft' }, el('span', { class: `badge ${entry.expired ? '' : denies ? 'deny' : 'allow'}` }, kindWords(entry.kind)), ' ', left(entry)),
      el('div', { class: 'actions' }, change, remove), more);
  };
  let next;
  const older = el('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => doing(older, async () => {
    const page = await api('GET', next);
    list.append(...page.access.map(card));
    turn(page);
  }) }, 'More entries');
  const turn = (page) => {
    next = page.next;
    older.hidden = !next;
  };
  async function draw() {
    await names();
    const page = await api('GET', '/api/access?limit=100');
    list.replaceChildren(...page.access.map(card));
    about.textContent = page.access.length ? '' : 'There are no entries: you are asked about everything.';
    turn(page);
  }
  return {
    title: 'Access list',
    body: [el('details', { class: 'card add' }, el('summary', {}, 'Add an entry'), add), about, list, older],
    draw,
    // What the owner is changing stays under the hand; the list is drawn anew when that is done.
    heard: (name) => ['access', 'users'].includes(name) && !list.querySelector('.inline form, .question') && draw(),
  };
}

export function users() {
  const list = el('ul', { class: 'cards', 'aria-label': 'Remote users' });
  const about = el('p', { class: 'about', role: 'status' });
  const name = el('input', { required: true, maxlength: 256, autocomplete: 'username', autocapitalize: 'off', spellcheck: 'false' });
  const password = el('input', { required: true, type: 'password', autocomplete: 'new-password' });
  const add = form('Add user', [field('Name', name), field('Password, 8 characters or more', password)], async () => {
    await api('POST', '/api/users', { name: name.value, password: password.value });
    tell([alien(name.value), ' may sign in now. You are asked before anything is done.']);
    await draw();
  });
  const card = (user) => {
    const path = `/api/users/${encodeURIComponent(user.name)}`;
    const more = el('div', { class: 'inline' });
    const change = el('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', onclick: () => {
      const open = change.getAttribute('aria-expanded') === 'true';
      change.setAttribute('aria-expanded', String(!open));
      if (open) return more.replaceChildren();
      const password = el('input', { required: true, type: 'password', autocomplete: 'new-password' });
      const known = el('input', { type: 'text', value: user.name, autocomplete: 'username', hidden: true });
      more.replaceChildren(form('Set password', [known, field('New password', password)], async () => {
        await api('PUT', `${path}/password`, { password: password.value });
        tell([alien(user.name), ' has the new password.']);
        await draw();
      }));
      return password.focus();
    } }, 'New password');
    const unlock = el('button', { type: 'button', class: 'primary', onclick: () => doing(unlock, async () => {
      await api('POST', `${path}/unlock`);
      tell([alien(user.name), ' may sign in again.']);
      await draw();
    }) }, 'Unlock');
    const remove = sure('Delete', 'Delete the user, with all entries?', async () => {
      await api('DELETE', path);
      tell([alien(user.name), ' is deleted, with the entries of the access list.']);
      await draw();
    });
    return el('li', { class: 'card' },
      el('p', { class: 'line' }, alien(user.name, 'b'), ' ', user.disabled && el('span', { class: 'badge deny' }, 'disabled')),
      el('p', { class: 'soft' }, user.locked_s ? [el('span', { class: 'badge deny' }, 'locked'), ` for ${count(user.locked_s, 'second')}`] : ['since ', when(user.since)],
        user.failures > 0 && ` · ${count(user.failures, 'wrong password')}`),
      el('div', { class: 'actions' }, (user.locked_s > 0 || user.failures > 0) && unlock, change, remove), more);
  };
  async function draw() {
    const { users } = await api('GET', '/api/users');
    list.replaceChildren(...users.map(card));
    about.textContent = users.length ? '' : 'There are no remote users: nobody can sign in.';
  }
  return {
    title: 'Remote users',
    body: [el('details', { class: 'card add' }, el('summary', {}, 'Add a remote user'), add), about, list],
    draw,
    heard: (name) => name === 'users' && !list.querySelector('.inline form, .question') && draw(),
  };
}

export function audit() {
  const list = el('ol', { class: 'cards lines', 'aria-label': 'Audit log' });
  const about = el('p', { class: 'about', role: 'status' });
  const user = el('input', { list: 'names', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', placeholder: 'everybody' });
  const resource = el('select', {}, options([['', 'every resource'], ...[...resources.keys()].map((name) => [name, name])]));
  const decision = el('select', {}, options([['', 'allowed or denied'], ['allowed', 'allowed'], ['denied', 'denied']]));
  const links = ['jsonl', 'csv'].map((kind) => el('a', { class: 'button quiet', download: '' }, kind === 'csv' ? 'Export as CSV' : 'Export as JSON Lines'));
  let next;
  let older = false;
  const query = () => {
    const pairs = [['user', user.value], ['resource', resource.value], ['decision', decision.value]].filter(([, value]) => value);
    return new URLSearchParams(pairs).toString();
  };
  const line = (entry) => el('li', { class: 'card' },
    el('p', { class: 'line' }, alien(entry.user ?? 'nobody', 'b'), `: ${says(entry.resource, entry.action)}`),
    entry.content.length > 0 && el('dl', { class: 'content' }, entry.content.map(({ name, text }) => [el('dt', {}, name), alien(text, 'dd')])),
    el('p', { class: 'soft' }, el('span', { class: `badge ${entry.decision === 'allowed' ? 'allow' : 'deny'}` }, entry.decision),
      ` ${BY[entry.by] ?? entry.by} · `, when(entry.at, true), entry.times > 1 && ` · ${count(entry.times, 'time')}`,
      entry.outcome && [' · ', alien(entry.outcome)]));
  const more = el('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => doing(more, async () => {
    older = true;
    const page = await api('GET', next);
    list.append(...page.audit.map(line));
    turn(page);
  }) }, 'Older lines');
  const turn = (page) => {
    next = page.next;
    more.hidden = !next;
  };
  async function draw() {
    older = false;
    const now = query();
    for (const [at, kind] of ['jsonl', 'csv'].entries()) links[at].href = `/api/audit.${kind}${now && `?${now}`}`;
    const page = await api('GET', `/api/audit?limit=50${now && `&${now}`}`);
    list.replaceChildren(...page.audit.map(line));
    about.textContent = page.audit.length ? '' : 'Nothing was decided yet that fits.';
    turn(page);
  }
  const filter = el('form', { class: 'fields filter', onsubmit: (event) => {
    event.preventDefault();
    doing(filter, draw);
  }, onchange: () => doing(filter, draw) }, field('Remote user', user), field('Resource', resource), field('Decision', decision), userNames());
  return {
    title: 'Audit log',
    body: [filter, el('div', { class: 'actions' }, links), about, list, more],
    draw,
    heard: (name) => name === 'prompts' && !older && draw(),
  };
}
