// The owner's screen: puts its parts together and keeps them up to date.

import { el, tell } from './dom.js';
import { controls } from './controls.js';
import { drawCalls, drawConnection, drawDecided, drawPrompts, drawState, happens, home } from './home.js';
import { api, listen, seldom } from './net.js';
import { prompts } from './sheet.js';
import { access, audit, users } from './views.js';
import { learn } from './words.js';

const CONNECTION_EVERY_MS = 10_000;
const STATE_EVERY_MS = 30_000;
const AGAIN_MS = 2_000;

const panel = document.getElementById('panel');
const face = document.getElementById('face');
const views = { access, users, audit };
let view;
// What the simulated handset has to choose from; undefined: the hardware is real.
let simulated;

// The view that the address names; in a wide window the home screen is always there, beside another view.
function route(focus) {
  let name = location.hash.slice(1);
  const wide = matchMedia('(min-width: 60rem)').matches;
  if (!(name in views) && !(name === 'controls' && simulated)) name = wide ? 'access' : 'home';
  document.body.dataset.view = name;
  for (const link of document.querySelectorAll('#tabs a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (view?.name === name) return;
  view = undefined;
  panel.replaceChildren();
  if (name === 'home') {
    if (focus) face.focus({ preventScroll: true });
    return;
  }
  const made = name === 'controls' ? controls(simulated) : views[name]();
  view = { ...made, name };
  panel.replaceChildren(el('h1', { tabindex: '-1' }, made.title), ...made.body);
  draw();
  panel.scrollTop = 0;
  if (focus) panel.focus({ preventScroll: true });
}

// A fault while drawing is told, and the next event draws again.
function quietly(promise) {
  Promise.resolve(promise).catch((fault) => {
    if (!fault.told) throw fault;
    if (fault.status !== 0) tell(fault.message, true);
  });
}

const draw = () => quietly(view?.draw());
const pass = (name, data) => quietly(view?.heard?.(name, data));

const state = seldom(500, () => quietly(api('GET', '/api/state').then((now) => {
  drawState(now);
  pass('state', now);
})));
const connection = seldom(500, () => quietly(api('GET', '/api/connection').then(drawConnection)));
const calls = seldom(250, () => simulated && quietly(api('GET', '/api/simulated').then((now) => drawCalls(now.calls))));
const decided = seldom(2_000, () => {
  quietly(drawDecided());
  pass('prompts');
});

// Prompts come many times a second at the worst; they are drawn once for each picture of the screen.
let latest;
function drawLatest() {
  const list = latest;
  latest = undefined;
  prompts(list);
  drawPrompts(list);
  decided();
}

function heard(name, data) {
  if (name === 'prompts') {
    if (!latest) setTimeout(drawLatest, 100);
    latest = data;
  } else if (name === 'handset') {
    happens(data);
    state();
    calls();
    if (data.kind === 'connection') connection();
  } else if (name === 'up') {
    document.getElementById('away').hidden = data;
    if (!data) drawConnection({ registered: false });
  } else if (name === 'open') {
    state();
    connection();
    calls();
    draw();
  } else if (name === 'lost') {
    state();
    calls();
  } else pass(name, data);
}

// Asks for what the screen needs before it shows anything, until the handset answers: it may still be starting.
async function ask() {
  for (;;) {
    try {
      await learn();
      return await api('GET', '/api/simulated').catch((fault) => {
        if (fault.status !== 404) throw fault;
      });
    } catch (fault) {
      if (!fault.told) throw fault;
      document.getElementById('away').hidden = false;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function begin() {
  home();
  document.getElementById('skip').addEventListener('click', () => (view ? panel : face).focus());
  simulated = await ask();
  document.getElementById('controls-tab').hidden = !simulated;
  addEventListener('hashchange', () => route(true));
  matchMedia('(min-width: 60rem)').addEventListener('change', () => route(false));
  route(false);
  listen(heard);
  state();
  connection();
  calls();
  setInterval(() => document.hidden || state(), STATE_EVERY_MS);
  setInterval(() => document.hidden || connection(), CONNECTION_EVERY_MS);
}

begin();
