// The handset's own screen: status bar, clock, who waits for an answer, calls, and what happened.

import { alien, clock, count, doing, el, icon, tell, when } from './dom.js';
import { api } from './net.js';
import { remaining, open } from './sheet.js';
import { BY, says } from './words.js';

const HAPPENED_MAX = 20;
const MODES = { normal: ['bell', 'Normal'], high: ['loud', 'High'], silent: ['silent', 'Silent'], vibrate: ['vibrate', 'Vibrate only'] };

const at = (id) => document.getElementById(id);

// One element that is told by its picture: the words are for who can't see it.
function picture(id, words, ...children) {
  const element = at(id);
  element.setAttribute('aria-label', words);
  element.title = words;
  if (children.length) element.replaceChildren(...children);
}

export function drawState({ battery, coverage, mode, sim }) {
  at('operator').textContent = coverage?.operator ?? (sim === null ? 'No SIM card' : 'No network');
  at('technology').textContent = coverage && coverage.technology !== 'none' ? coverage.technology.toUpperCase() : '';
  const bars = coverage?.bars ?? 0;
  picture('bars', `Coverage: ${bars} of 5 bars`);
  [...at('bars').children].forEach((bar, index) => bar.classList.toggle('on', index < bars));
  at('battery').hidden = !battery;
  at('percent').hidden = !battery;
  if (battery) {
    picture('battery', `Battery: ${battery.percent} %${battery.charging ? ', charging' : ''}`);
    at('battery').classList.toggle('low', battery.percent <= 15 && !battery.charging);
    at('battery').classList.toggle('charging', battery.charging);
    at('charge').style.setProperty('--percent', String(battery.percent));
    at('percent').textContent = `${battery.percent} %`;
  }
  const [name, words] = MODES[mode] ?? MODES.normal;
  picture('mode', `Mode: ${words}`, icon(name));
}

export function drawConnection({ registered, gateway, msisdn, since }) {
  at('linked').classList.toggle('off', !registered);
  picture('linked', registered ? `Registered with ${gateway}` : 'Not registered with a gateway', icon('linked'));
  if (msisdn) number.textContent = `+${msisdn}`;
  reach.replaceChildren(...(registered ? ['Reachable', since ? [' since ', when(since)] : ''].flat() : ['Not reachable: no gateway']));
}

const time = el('p', { class: 'big' });
const day = el('p', { class: 'day' });
const number = el('p', { class: 'number' });
const reach = el('p', { class: 'reach' });
const waiting = el('ul', { class: 'notes', 'aria-label': 'Waiting for your answer' });
const calls = el('ul', { class: 'notes', 'aria-label': 'Calls' });
const silenced = el('ul', { class: 'notes', 'aria-label': 'Silenced' });
const happened = el('ul', { class: 'notes', 'aria-label': 'What happened' });
const decided = el('ul', { class: 'notes faint', 'aria-label': 'Decided lately' });

export function home() {
  at('face').append(el('div', { class: 'face' }, time, day, number, reach), waiting, calls, silenced, happened, decided,
    el('form', { class: 'leave', method: 'post', action: '/sign-out' }, el('button', { class: 'small' }, 'Lock this screen')));
  tick();
}

function tick() {
  const now = new Date();
  at('clock').textContent = clock(now);
  at('clock').setAttribute('datetime', now.toISOString());
  time.textContent = clock(now);
  day.textContent = now.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' });
  setTimeout(tick, 60_000 - (Date.now() % 60_000));
}

export function drawPrompts({ asks, prompts, silenced: quiet }) {
  const held = waiting.contains(document.activeElement) && document.activeElement.dataset.prompt;
  const off = !asks && el('li', {}, el('p', {}, el('b', {}, 'Nobody is asked'), el('small', {}, 'The notifier is off: whoever is let in may do everything.')));
  waiting.replaceChildren(...[off].filter(Boolean), ...prompts.map((prompt) => el('li', {}, el('button', { type: 'button', class: 'note', 'data-prompt': prompt.id, onclick: () => open(prompt.id) },
    icon('access'), el('span', {}, alien(prompt.user, 'b'), el('small', {}, `wants to ${prompt.says} · ${remaining(prompt)} s left`))))));
  if (held) waiting.querySelector(`[data-prompt="${CSS.escape(held)}"]`)?.focus();
  silenced.replaceChildren(...quiet.map(({ user, until }) => {
    const end = el('button', { type: 'button', class: 'small', onclick: () => doing(end, async () => {
      await api('DELETE', `/api/silences/${encodeURIComponent(user)}`);
      tell([alien(user), ' may ask again.']);
    }) }, 'Let ask again');
    return el('li', {}, icon('silent'), el('p', {}, alien(user, 'b'), el('small', {}, 'silenced until ', when(until))), end);
  }));
}

const CALL = { dialing: 'Dialling', ringing: 'Calling', active: 'Speaking' };

export function drawCalls(list) {
  calls.replaceChildren(...list.filter(({ state }) => CALL[state]).map((call) => {
    const act = (label, path, kind) => {
      const button = el('button', { type: 'button', class: `small ${kind}`, onclick: () => doing(button, () => api('POST', `/api/simulated/calls/${encodeURIComponent(call.id)}/${path}`)) }, label);
      return button;
    };
    const ringing = call.incoming && call.state === 'ringing';
    return el('li', { class: ringing ? 'ringing' : '' }, icon('call'),
      el('p', {}, alien(call.number ?? 'Withheld number', 'b'), el('small', {}, call.incoming ? (ringing ? 'is calling' : CALL[call.state]) : CALL[call.state])),
      ringing && act('Answer', 'answer', 'go'), act(ringing ? 'Decline' : 'Hang up', 'hang-up', 'stop'));
  }));
}

// What happened, in words; a kind that has none is not shown.
const HAPPENED = {
  sms: ['message', { received: 'New SMS', sent: 'SMS sent', delivered: 'SMS delivered', failed: 'SMS not sent' }],
  mms: ['message', { received: 'New MMS', sent: 'MMS sent', delivered: 'MMS delivered', failed: 'MMS not sent' }],
  email: ['mail', { received: 'New email', sent: 'Email sent', failed: 'Email not sent' }],
  call: ['call', { ended: 'A call ended' }],
};

export function happens({ kind, data }) {
  const [name, states] = HAPPENED[kind] ?? [];
  const words = states?.[data?.state];
  if (!words) return;
  happened.prepend(el('li', {}, icon(name), el('p', {}, el('b', {}, words), el('small', {}, when(new Date().toISOString()), data?.href ? ` · kept as ${visiblePath(data.href)}` : ''))));
  while (happened.children.length > HAPPENED_MAX) happened.lastElementChild.remove();
}

const visiblePath = (href) => String(href).slice(0, 64);

export async function drawDecided() {
  const { audit } = await api('GET', '/api/audit?limit=5');
  decided.replaceChildren(...audit.map((entry) => el('li', {}, icon(entry.decision === 'allowed' ? 'check' : 'cross'),
    el('p', {}, el('span', {}, alien(entry.user ?? 'nobody', 'b'), `: ${says(entry.resource, entry.action)}`),
      el('small', {}, `${entry.decision} · ${BY[entry.by] ?? entry.by} · `, when(entry.at), entry.times > 1 && ` · ${count(entry.times, 'time')}`)))));
}
