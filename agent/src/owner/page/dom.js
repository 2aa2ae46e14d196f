// Builds the page out of elements and text. Nothing here, or in any other script of the page, takes text for markup:
// names and messages come from strangers.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value') element.value = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

// Characters that are not seen, or that turn the order of others around, are shown by their number: what the owner is
// asked must read as it is. Joiners stay, which some scripts and emoji are written with.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

export function visible(text) {
  return String(text).replace(UNSEEN, (character) => {
    const number = character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    return `⟨U+${number}⟩`;
  });
}

// A text of somebody else's, which keeps its direction to itself.
export function alien(text, name = 'bdi', attributes = {}) {
  return el(name, { dir: 'auto', ...attributes }, visible(text));
}

export function clock(moment) {
  return moment.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

export function when(text, seconds = false) {
  const moment = new Date(text);
  const today = moment.toDateString() === new Date().toDateString();
  const time = moment.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: seconds ? '2-digit' : undefined, hourCycle: 'h23' });
  const day = moment.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' });
  return el('time', { datetime: text, title: moment.toLocaleString() }, today ? time : `${day}, ${time}`);
}

export function span(seconds) {
  const units = [[86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']];
  const [size, name] = units.find(([size]) => seconds >= size && seconds % size === 0) ?? units[3];
  const count = seconds / size;
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

// A number with its unit, in seconds.
export function spanFields(id, seconds = 3600) {
  const units = [['60', 'minutes'], ['3600', 'hours'], ['86400', 'days']];
  const [unit] = units.findLast(([unit]) => seconds >= unit && seconds % unit === 0) ?? units[0];
  const number = el('input', { id, type: 'number', min: 1, max: 31536000, step: 1, required: true, inputmode: 'numeric', value: String(Math.max(1, Math.round(seconds / unit))) });
  const choice = el('select', { 'aria-label': 'Unit' }, units.map(([value, name]) => el('option', { value, selected: value === unit }, name)));
  return { fields: el('span', { class: 'together' }, number, choice), seconds: () => Number(number.value) * Number(choice.value), number };
}

let fields = 0;

// A label and what it names: an input, or something with an input in it.
export function field(label, content) {
  const input = content.matches('input, select, textarea') ? content : content.querySelector('input, select, textarea');
  fields += 1;
  input.id ||= `field-${fields}`;
  return el('div', { class: 'field' }, el('label', { for: input.id }, label), content);
}

let toastTimer;

// Tells how something went; read out by a screen reader, and gone after a while.
export function tell(words, bad = false) {
  const toast = document.getElementById('toast');
  toast.replaceChildren(el('p', { class: bad ? 'bad' : '' }, words));
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.replaceChildren(), bad ? 12000 : 5000);
}

// Does something that a button asked for; while it goes on, its form takes no second press.
export async function doing(element, act) {
  const form = element?.closest('form, li, .card, .sheet') ?? element;
  if (form?.getAttribute('aria-busy') === 'true') return undefined;
  form?.setAttribute('aria-busy', 'true');
  try {
    return await act();
  } catch (fault) {
    if (!fault.told) throw fault;
    tell(fault.message, true);
    return undefined;
  } finally {
    form?.removeAttribute('aria-busy');
  }
}

// A button that asks back in its own place before it does something that can't be undone.
export function sure(label, question, act) {
  const place = el('span', { class: 'sure' });
  const ask = el('button', { type: 'button', class: 'quiet danger', onclick: () => {
    const no = el('button', { type: 'button', class: 'quiet', onclick: back }, 'Keep');
    const yes = el('button', { type: 'button', class: 'danger', onclick: () => doing(yes, act) }, 'Delete');
    place.replaceChildren(el('span', { class: 'question' }, question), yes, no);
    no.focus();
  } }, label);
  function back() {
    place.replaceChildren(ask);
    ask.focus();
  }
  place.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !ask.isConnected) back();
  });
  place.append(ask);
  return place;
}
