// The sheet that asks the owner: who wants to do what, six answers, and how long there is.
//
// It never takes the keyboard from somebody who is typing, and takes no answer in the first moment that a question is
// up: a finger or a key that was meant for something else must not answer it.

import { alien, count, doing, el, span, spanFields, tell, visible } from './dom.js';
import { api } from './net.js';

const ARMED_AFTER_MS = 600;
const TICK_MS = 250;

const sheet = document.getElementById('sheet');
const aside = document.getElementById('aside');
const announcer = document.getElementById('announcer');

let known = { prompts: [], at: 0, prompt_timeout_s: 60 };
let shown;
let armed = false;
let arming;
let ticking;
let before;
// Prompts that the owner has set aside, and one that this window is answering.
const later = new Set();
let answering;
// The user whom this window silences.
let hushed;
let parts;

const left = (prompt) => Math.max(0, known.at + prompt.left_ms - performance.now());

// All that is open now.
export function prompts(list) {
  known = { ...list, at: performance.now() };
  for (const id of later) if (!known.prompts.some((prompt) => prompt.id === id)) later.delete(id);
  const still = known.prompts.find((prompt) => prompt.id === shown?.id);
  if (shown && !still && answering !== shown.id && hushed !== shown.user) {
    tell(['The request of ', alien(shown.user), ' is gone: it was answered, its caller left, or its time was over.']);
  }
  if (still && !later.has(still.id)) {
    shown = still;
    parts.update();
  } else next();
  badge();
}

// Shows one prompt, though it was set aside.
export function open(id) {
  later.delete(id);
  const prompt = known.prompts.find((prompt) => prompt.id === id);
  if (prompt) show(prompt, true);
  badge();
}

export const remaining = (prompt) => Math.ceil(left(prompt) / 1000);

function next() {
  const prompt = known.prompts.find((prompt) => !later.has(prompt.id) && prompt.id !== answering);
  if (prompt) show(prompt, false);
  else hide();
}

function badge() {
  const waiting = known.prompts.length;
  aside.hidden = !sheet.hidden || waiting === 0;
  aside.replaceChildren(`${count(waiting, 'request waits', 'requests wait')} for your answer`);
  const first = shown ?? known.prompts[0];
  document.title = first ? `(${waiting}) ${visible(first.user)} wants to ${first.says}` : 'Everline handset';
}

function typing() {
  const at = document.activeElement;
  return at?.matches('input, textarea, select') && !sheet.contains(at);
}

function show(prompt, wanted) {
  if (sheet.hidden && !sheet.contains(document.activeElement)) before = document.activeElement;
  shown = prompt;
  armed = false;
  clearTimeout(arming);
  sheet.classList.add('arming');
  arming = setTimeout(() => {
    armed = true;
    sheet.classList.remove('arming');
  }, ARMED_AFTER_MS);
  parts = build(prompt);
  sheet.replaceChildren(...parts.children);
  sheet.hidden = false;
  document.body.classList.add('asking');
  announcer.replaceChildren(`${visible(prompt.user)} wants to ${prompt.says}.${typing() ? ' Press F2 to answer.' : ''}`);
  if (wanted || !typing()) parts.title.focus({ preventScroll: true });
  parts.update();
  clearInterval(ticking);
  ticking = setInterval(() => parts.tick(), TICK_MS);
}

function hide() {
  const inside = sheet.contains(document.activeElement);
  clearInterval(ticking);
  shown = undefined;
  sheet.hidden = true;
  sheet.replaceChildren();
  document.body.classList.remove('asking');
  announcer.replaceChildren();
  if (!inside) return;
  if (before?.isConnected && before !== document.body) before.focus();
  else document.getElementById(document.body.dataset.view === 'home' ? 'face' : 'panel').focus();
}

function setAside() {
  later.add(shown.id);
  tell('Set aside. It still waits; F2 brings it back.');
  next();
  badge();
  if (sheet.hidden) aside.focus();
}

const DONE = {
  always: 'may always',
  once: 'may this once',
  'for-a-time': 'may for now',
  'a-number-of-times': 'may some times',
  'not-now': 'may not, this time,',
  never: 'may never',
};

function answer(button, answer, more = {}) {
  if (!armed) return;
  const prompt = shown;
  doing(button, async () => {
    answering = prompt.id;
    try {
      await api('POST', `/api/prompts/${encodeURIComponent(prompt.id)}/answer`, { answer, ...more });
      tell([alien(prompt.user), ` ${DONE[answer]} ${prompt.says}.`]);
    } catch (fault) {
      if (fault.status !== 404) {
        answering = undefined;
        throw fault;
      }
      tell('Too late: nobody waits for this answer any more.', true);
    }
    known.prompts = known.prompts.filter((one) => one.id !== prompt.id);
    next();
    answering = undefined;
    badge();
  });
}

function silence(button) {
  if (!armed) return;
  const { user } = shown;
  doing(button, async () => {
    hushed = user;
    try {
      await api('POST', '/api/silences', { user, seconds: 600 });
      tell([alien(user), ' is silenced for 10 minutes.']);
      prompts({ ...known, prompts: known.prompts.filter((one) => one.user !== user).map((one) => ({ ...one, left_ms: left(one) })) });
    } finally {
      hushed = undefined;
    }
  });
}

function build(prompt) {
  const title = el('h2', { id: 'sheet-title', tabindex: '-1' }, alien(prompt.user, 'bdi', { tabindex: prompt.user.length > 60 ? '0' : undefined }), el('span', {}, ` wants to ${prompt.says}`));
  const waiting = el('span', { class: 'waiting' });
  const seconds = el('span', { class: 'seconds' });
  const bar = el('i', {});
  const content = el('dl', { class: 'content', tabindex: prompt.content.length ? '0' : undefined, 'aria-label': 'What it is about' },
    prompt.content.map(({ name, text }) => [el('dt', {}, name), alien(text, 'dd')]));
  const choices = el('div', { class: 'answers', role: 'group', 'aria-label': 'Your answer' });
  const more = el('p', { class: 'more' });
  const nextOne = el('button', { type: 'button', class: 'link', onclick: another }, 'Show the next');
  const foot = el('div', { class: 'foot' },
    el('button', { type: 'button', class: 'link', onclick: (event) => silence(event.currentTarget) }, 'Silence ', alien(prompt.user), ' for 10 min'),
    el('button', { type: 'button', class: 'link', 'aria-keyshortcuts': 'Escape', onclick: setAside }, 'Set aside'));
  const keys = el('p', { class: 'keys' }, 'Keys: 1 to 6 answer · Esc sets aside · F2 comes back here');

  const one = (key, label, hint, kind, act) => {
    const button = el('button', { type: 'button', class: kind, 'data-key': key, 'aria-keyshortcuts': key, onclick: () => act(button) },
      el('b', {}, label), el('small', {}, hint));
    return button;
  };
  const six = () => choices.replaceChildren(
    one('1', 'Always', 'from now on', 'allow', (button) => answer(button, 'always')),
    one('2', 'Once', 'this request', 'allow', (button) => answer(button, 'once')),
    one('3', 'For a time…', 'until then', 'allow', () => times()),
    one('4', 'Some times…', 'a number of them', 'allow', () => numbers()),
    one('5', 'Not now', 'not this time', 'deny', (button) => answer(button, 'not-now')),
    one('6', 'Never', 'nor later', 'deny never', (button) => answer(button, 'never')),
  );
  const back = () => one('0', 'Back', 'to all answers', 'plain', () => {
    six();
    choices.querySelector('button').focus();
  });
  const own = (label, fields, act) => el('form', { class: 'own', onsubmit: (event) => {
    event.preventDefault();
    act(event.submitter);
  } }, el('label', {}, label, fields), el('button', { class: 'allow' }, 'Allow'));
  const swap = (...children) => {
    if (!armed) return;
    choices.replaceChildren(...children);
    choices.querySelector('button').focus();
  };
  function times() {
    const pick = (key, seconds) => one(key, span(seconds), '', 'allow', (button) => answer(button, 'for-a-time', { seconds }));
    const custom = spanFields('sheet-time', 1800);
    swap(pick('1', 600), pick('2', 3600), pick('3', 86400), back(),
      own('Or for', custom.fields, (button) => answer(button, 'for-a-time', { seconds: custom.seconds() })));
  }
  function numbers() {
    const pick = (key, number) => one(key, `${number} times`, '', 'allow', (button) => answer(button, 'a-number-of-times', { times: number }));
    const custom = el('input', { type: 'number', min: 1, max: 1000000, step: 1, required: true, inputmode: 'numeric', value: '3' });
    swap(pick('1', 2), pick('2', 5), pick('3', 10), back(),
      own('Or times', custom, (button) => answer(button, 'a-number-of-times', { times: Number(custom.value) })));
  }
  function another() {
    const at = known.prompts.findIndex((one) => one.id === prompt.id);
    const after = known.prompts[(at + 1) % known.prompts.length];
    if (after && after.id !== prompt.id) show(after, true);
  }

  six();
  const children = [
    el('div', { class: 'asks', id: 'sheet-asks' }, title, content),
    el('div', { class: 'time' }, el('div', { class: 'bar', 'aria-hidden': 'true' }, bar), el('p', {}, waiting, seconds)),
    choices, foot, el('div', { class: 'queue' }, more, nextOne), keys,
  ];
  const tick = () => {
    const now = left(shown);
    const whole = Math.ceil(now / 1000);
    const words = whole > 0 ? `${whole} s left` : 'time is over';
    if (seconds.textContent !== words) seconds.textContent = words;
    bar.style.setProperty('--left', String(Math.min(1, now / (1000 * (known.prompt_timeout_s || 60)))));
    sheet.classList.toggle('urgent', whole <= 10);
  };
  const update = () => {
    waiting.textContent = count(shown.waiting, 'request waits', 'requests wait');
    const others = known.prompts.length - 1;
    more.textContent = others > 0 ? count(others, 'more question waits', 'more questions wait') : '';
    nextOne.hidden = others < 1;
    tick();
  };
  return { children, title, update, tick };
}

sheet.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape') {
    event.preventDefault();
    setAside();
  } else if (!event.target.matches('input, select') && !event.repeat) {
    sheet.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
});

aside.addEventListener('click', bringBack);
document.addEventListener('keydown', (event) => {
  if (event.key !== 'F2') return;
  event.preventDefault();
  bringBack();
});

function bringBack() {
  if (shown) parts.title.focus();
  else if (known.prompts.length) open(known.prompts[0].id);
  else tell('Nobody waits for an answer.');
}
