// What befalls the simulated handset: each button is something that would happen to a real one by itself.

import { alien, doing, el, field, tell } from './dom.js';
import { api } from './net.js';

const put = (what, body) => api('PUT', `/api/simulated/${what}`, body);
const post = (what, body) => api('POST', `/api/simulated/${what}`, body);

const number = (value = '+34600123456') => el('input', { type: 'tel', required: true, maxlength: 32, autocomplete: 'off', value });
const line = (value, attributes = {}) => el('input', { required: true, maxlength: 256, autocomplete: 'off', value, ...attributes });

function form(label, fields, act) {
  const element = el('form', { class: 'fields', onsubmit: (event) => {
    event.preventDefault();
    doing(element, act);
  } }, fields, el('div', { class: 'actions' }, el('button', { class: 'primary' }, label)));
  return element;
}

// Something that is on or off.
function toggle(label, act) {
  const input = el('input', { type: 'checkbox', role: 'switch', onchange: () => doing(input.parentElement, async () => {
    try {
      await act(input.checked);
    } catch (fault) {
      input.checked = !input.checked;
      throw fault;
    }
  }) });
  const element = el('label', { class: 'toggle' }, el('span', {}, label), input);
  return { element, set: (on) => { input.checked = on; } };
}

const part = (title, ...children) => el('section', { class: 'card' }, el('h2', {}, title), ...children);

export function controls(now) {
  const charger = toggle('Charger plugged in', (plugged) => put('charger', { plugged }));
  const coverage = toggle('Within coverage', (covered) => put('coverage', { covered }));
  const sim = toggle('SIM card inside', (inside) => put('sim', { inside }));
  const level = el('input', { type: 'range', min: 0, max: 100, step: 1, onchange: () => doing(level.parentElement, () => put('battery', { percent: Number(level.value) })), oninput: () => shown() });
  const levelWords = el('output', {});
  const shown = () => { levelWords.textContent = `${level.value} %`; };
  const technology = el('select', { onchange: () => doing(technology.parentElement, () => put('technology', { technology: technology.value })) },
    now.technologies.map((name) => el('option', { value: name }, name.toUpperCase())));
  const mode = el('select', { onchange: () => doing(mode.parentElement, () => put('mode', { mode: mode.value })) },
    now.modes.map((name) => el('option', { value: name }, name)));

  const from = number();
  const withheld = el('input', { type: 'checkbox', onchange: () => { from.disabled = withheld.checked; } });
  const call = form('Call this handset', [field('From', from), el('label', { class: 'check' }, withheld, 'Number withheld')], async () => {
    const { became, reason, to } = await post('calls', { from: withheld.checked ? null : from.value });
    tell({
      rings: 'It rings.',
      busy: 'The handset is engaged.',
      unreachable: 'The handset can’t be reached.',
      diverted: [`The call was diverted (${reason}) to `, alien(to ?? ''), '.'],
    }[became]);
  });

  const smsFrom = line('+34600123456');
  const smsText = el('textarea', { required: true, rows: 3, maxlength: 2000 });
  const sms = form('Send this SMS', [field('From', smsFrom), field('Text', smsText)], async () => {
    await post('sms', { from: smsFrom.value, text: smsText.value });
    tell('The SMS is on its way.');
    smsText.value = '';
  });
  const mmsFrom = number();
  const mmsSubject = line('', { required: false });
  const mmsText = el('textarea', { required: true, rows: 3, maxlength: 4000 });
  const mmsPicture = el('input', { type: 'checkbox', checked: true });
  const mms = form('Send this MMS', [field('From', mmsFrom), field('Subject', mmsSubject), field('Text', mmsText), el('label', { class: 'check' }, mmsPicture, 'With a picture')], async () => {
    await post('mms', { from: mmsFrom.value, subject: mmsSubject.value, text: mmsText.value, picture: mmsPicture.checked });
    tell('The MMS is on its way.');
    mmsText.value = '';
  });
  const emailFrom = line('ada@example.com', { type: 'email' });
  const emailSubject = line('');
  const emailText = el('textarea', { required: true, rows: 4, maxlength: 8000 });
  const email = form('Send this email', [field('From', emailFrom), field('Subject', emailSubject), field('Text', emailText)], async () => {
    await post('email', { from: emailFrom.value, subject: emailSubject.value, text: emailText.value });
    tell('The email is on its way.');
    emailText.value = '';
  });

  function set(state) {
    if (state.battery && document.activeElement !== level) {
      level.value = String(state.battery.percent);
      shown();
    }
    charger.set(Boolean(state.battery?.charging));
    sim.set(state.sim !== null);
    coverage.set(Boolean(state.coverage?.operator) || (state.sim === null && coverage.element.querySelector('input').checked));
    if (state.coverage && state.coverage.technology !== 'none') technology.value = state.coverage.technology;
    if (state.mode) mode.value = state.mode;
  }
  return {
    title: 'Simulate',
    body: [
      el('p', { class: 'about' }, 'This handset has no hardware. What would befall a real one is done here.'),
      el('div', { class: 'grid' },
        part('Power', charger.element, field('Battery', el('span', { class: 'together' }, level, levelWords))),
        part('Radio and SIM card', coverage.element, field('Technology', technology), sim.element),
        part('Mode', field('Calls for attention', mode)),
        part('Somebody calls', call),
        part('An SMS comes', sms),
        part('An MMS comes', mms),
        part('An email comes', email)),
    ],
    draw: async () => set(await api('GET', '/api/state')),
    heard: (name, data) => name === 'state' && set(data),
  };
}
