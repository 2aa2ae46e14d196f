// The owner's screen as an owner sees it: prompts and their answers, lists, users, the simulated handset, in a real browser,
// while remote users call through a gateway. See run.sh for what it wants in the environment.

import assert from 'node:assert/strict';
import http from 'node:http';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { endAll, handset, until } from './handsets.js';

const { SCREENSHOTS } = process.env;
if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });

const phone = { width: 360, height: 640 };
const desk = { width: 1280, height: 800 };

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  await endAll();
});

// The owner at the screen of one handset: signed in by the address that `agent owner --secret` prints. The page must never
// complain on its console, nor ask anybody but the handset for anything.
async function watch(one, journey, options = {}) {
  const { windows = 1, quiet = true, ...rest } = options;
  const context = await browser.newContext({ viewport: desk, ...rest });
  const complaints = [];
  const pages = [];
  try {
    for (let n = 0; n < windows; n += 1) {
      const page = await context.newPage();
      page.setDefaultTimeout(30_000);
      page.on('console', (message) => {
        // Answers of 400 and above, and a handset that is away, are reported there too; those have tests of their own.
        if (!message.text().startsWith('Failed to load resource')) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('dialog', (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
      page.on('request', (request) => {
        if (new URL(request.url()).origin !== one.origin) complaints.push(`asked for ${request.url()}`);
      });
      await page.goto(n === 0 ? `${one.origin}/?secret=${one.secret}` : `${one.origin}/`);
      assert.equal(page.url(), `${one.origin}/`, 'the secret is out of the address bar');
      await page.locator('#operator:not(:empty)').waitFor();
      pages.push(page);
    }
    await journey(...pages);
    if (quiet) assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

const sheet = (page) => page.getByRole('dialog');
const asks = (page, words) => sheet(page).getByRole('heading', { name: words }).waitFor();
const armed = (page) => page.locator('#sheet:not(.arming) .answers').waitFor();
const gone = (page) => page.locator('#sheet').waitFor({ state: 'hidden' });
const told = (page, words) => page.locator('#toast').getByText(words).first().waitFor();

// Presses a button of the sheet as soon as the sheet takes it.
async function press(page, name) {
  await armed(page);
  await sheet(page).getByRole('button', { name }).click();
}

// What must hold for the look of every view, and its picture.
async function look(page, name) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${name} is ${content} px wide in a window of ${window} px`);
  const small = await page.evaluate(() => [...document.querySelectorAll('a, button, input, select, summary')]
    .filter((one) => one.checkVisibility() && !one.matches('.skip, [type=checkbox], [type=range]'))
    .filter((one) => one.getBoundingClientRect().height < 24)
    .map((one) => one.outerHTML));
  assert.deepEqual(small, [], `${name}: too small for a finger`);
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, a, [role=img]')]
    .filter((one) => one.checkVisibility() && !(one.getAttribute('aria-label') ?? one.textContent).trim())
    .map((one) => one.outerHTML));
  assert.deepEqual(nameless, [], `${name}: without a name`);
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

const go = async (page, name) => {
  await page.getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 1 }).waitFor();
};

describe('the six answers, and none', () => {
  let one;
  before(async () => { one = await handset(); });

  test('R53 R54 R60 always: done now, and from then on with no window', () => watch(one, async (page) => {
    const first = one.call('GET', '/contacts');
    await asks(page, 'alice wants to see the list of contacts');
    await press(page, /^Always/);
    assert.equal((await first).status, 200);
    await gone(page);
    assert.equal((await one.call('GET', '/contacts')).status, 200);
    assert.equal(await page.locator('#sheet').isVisible(), false);
    await page.getByRole('list', { name: 'Entries' }).getByText('Always allowed').waitFor();
  }));

  test('R55 R58 R63 R64 once, and then not now', () => watch(one, async (page) => {
    const first = one.call('POST', '/notes', { text: 'Milk' });
    await asks(page, 'alice wants to add a note');
    await sheet(page).getByText('Milk').waitFor();
    await press(page, /^Once/);
    assert.equal((await first).status, 201);
    const second = one.call('POST', '/notes', { text: 'Bread' });
    await sheet(page).getByText('Bread').waitFor();
    await press(page, /^Not now/);
    const denied = await second;
    assert.deepEqual([denied.status, denied.slug], [403, 'denied-now']);
    const third = one.call('POST', '/notes', { text: 'Wine' });
    await sheet(page).getByText('Wine').waitFor();
    await press(page, /^Not now/);
    assert.equal((await third).status, 403);
  }));

  test('R56 for a time', () => watch(one, async (page) => {
    const first = one.call('GET', '/calendar');
    await asks(page, 'alice wants to see the list of calendar entries');
    await press(page, /^For a time/);
    await sheet(page).getByRole('button', { name: '1 hour' }).click();
    assert.equal((await first).status, 200);
    assert.equal((await one.call('GET', '/calendar')).status, 200);
    const [entry] = (await one.owner('GET', '/api/access')).access.filter(({ resource }) => resource === 'calendar');
    assert.equal(entry.kind, 'temporary');
    const minutes = (Date.parse(entry.until) - Date.now()) / 60_000;
    assert.ok(minutes > 55 && minutes <= 60, `${minutes} minutes`);
    // A time of the owner's own.
    const own = one.call('GET', '/sounds');
    await asks(page, 'alice wants to see the list of sounds');
    await press(page, /^For a time/);
    await sheet(page).getByLabel('Or for').fill('2');
    await sheet(page).getByLabel('Unit').selectOption('days');
    await sheet(page).getByRole('button', { name: 'Allow' }).click();
    assert.equal((await own).status, 200);
    const days = (await one.owner('GET', '/api/access')).access.filter(({ resource }) => resource === 'sounds')
      .map(({ until }) => (Date.parse(until) - Date.now()) / 86_400_000);
    assert.ok(days[0] > 1.9 && days[0] <= 2, `${days} days`);
  }));

  test('R57 R59 R61 a number of times, and then never', () => watch(one, async (page) => {
    const first = one.call('GET', '/images');
    await asks(page, 'alice wants to see the list of images');
    await press(page, /^Some times/);
    await sheet(page).getByRole('button', { name: '2 times' }).click();
    assert.equal((await first).status, 200);
    assert.equal((await one.call('GET', '/images')).status, 200);
    const third = one.call('GET', '/images');
    await asks(page, 'alice wants to see the list of images');
    await press(page, /^Never/);
    assert.deepEqual((({ status, slug }) => [status, slug])(await third), [403, 'denied']);
    await gone(page);
    assert.deepEqual((({ status, slug }) => [status, slug])(await one.call('GET', '/images')), [403, 'denied']);
    assert.equal(await page.locator('#sheet').isVisible(), false, 'no window');
  }));

  test('R62 nobody answers: not executed, and the window goes', async () => {
    const short = await handset({ tables: '[consent]\nprompt_timeout_s = 3\n' });
    await watch(short, async (page) => {
      const waits = short.call('POST', '/notes', { text: 'Nobody is there' });
      await asks(page, 'alice wants to add a note');
      await sheet(page).getByText(/^[0-3] s left$/).waitFor();
      const answer = await waits;
      assert.deepEqual([answer.status, answer.slug], [403, 'no-answer']);
      await gone(page);
      await told(page, 'is gone');
      const list = short.call('GET', '/notes');
      await press(page, /^Once/);
      assert.deepEqual(JSON.parse((await list).text).notes, []);
    });
  });
});

describe('at the screen', () => {
  let one;
  before(async () => { one = await handset({ users: { alice: 'wonderland', bob: 'correct horse' } }); });

  test('R53 the secret opens it, typed as well, and nothing else does', async () => {
    const context = await browser.newContext({ viewport: phone });
    const page = await context.newPage();
    await page.goto(one.origin);
    await page.getByRole('heading', { name: 'This handset is locked' }).waitFor();
    await look(page, 'locked');
    await page.getByLabel('Owner’s secret').fill('not-the-owners-secret');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('That is not the owner’s secret').waitFor();
    await look(page, 'locked-wrong');
    await page.getByLabel('Owner’s secret').fill(one.secret);
    await page.getByRole('button', { name: 'Unlock' }).click();
    await page.locator('#operator:not(:empty)').waitFor();
    const [cookie] = await context.cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict']);
    assert.equal(await page.evaluate(() => document.cookie), '');
    await page.getByRole('button', { name: 'Lock this screen' }).click();
    await page.getByRole('heading', { name: 'This handset is locked' }).waitFor();
    assert.deepEqual(await context.cookies(), []);
    await page.getByLabel('Owner’s secret').fill(one.secret);
    await page.getByRole('button', { name: 'Unlock' }).click();
    await page.locator('#operator:not(:empty)').waitFor();
    await context.clearCookies();
    // The page notices by itself that it is signed out.
    await page.getByRole('link', { name: 'Access' }).click();
    await page.getByRole('heading', { name: 'This handset is locked' }).waitFor();
    await context.close();
  });

  test('R53 the keyboard is enough', () => watch(one, async (page) => {
    const first = one.call('POST', '/services/send-sms', { number: '+34600123451', text: 'By keyboard' });
    await asks(page, 'alice wants to send an SMS');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'sheet-title', 'the question has the focus');
    await armed(page);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^Always/);
    await page.keyboard.press('Tab');
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^Once/);
    await page.keyboard.press('Enter');
    assert.ok((await first).status < 300);
    await gone(page);

    // Keys of the sheet; Escape sets aside and says so, F2 brings back.
    const second = one.call('POST', '/notes', { text: 'Set aside' });
    await asks(page, 'alice wants to add a note');
    await page.keyboard.press('Escape');
    await told(page, 'Set aside. It still waits');
    await page.getByRole('button', { name: '1 request waits for your answer' }).waitFor();
    await page.keyboard.press('F2');
    await asks(page, 'alice wants to add a note');
    await armed(page);
    await page.keyboard.press('4');
    await page.keyboard.press('0');
    await page.keyboard.press('5');
    assert.equal((await second).slug, 'denied-now');
    await gone(page);

    // From the list to an entry that is added, with keys alone.
    await page.locator('#tabs').getByRole('link', { name: 'Access' }).focus();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Users');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Remote users' }).waitFor();
  }));

  test('R53 who is typing is not interrupted, and what is typed answers nothing', () => watch(one, async (page) => {
    await go(page, 'Simulate');
    const text = page.getByRole('region').or(page.locator('section.card', { hasText: 'An SMS comes' })).getByLabel('Text').first();
    await text.click();
    await page.keyboard.type('12');
    const waits = one.call('POST', '/notes', { text: 'Typing' });
    await asks(page, 'alice wants to add a note');
    await armed(page);
    await page.keyboard.type('3456');
    assert.equal(await text.inputValue(), '123456');
    assert.equal((await one.owner('GET', '/api/prompts')).prompts.length, 1);
    await page.getByRole('alert').getByText('Press F2 to answer').waitFor({ state: 'attached' });
    await page.keyboard.press('F2');
    await page.keyboard.press('5');
    assert.equal((await waits).slug, 'denied-now');
  }));

  test('R53 a key or finger that was on its way answers nothing', () => watch(one, async (page) => {
    const waits = one.call('POST', '/notes', { text: 'Too fast' });
    // In the page, at the very moment at which the question shows.
    const pressed = await page.evaluate(() => new Promise((resolve) => {
      const sheet = document.getElementById('sheet');
      new MutationObserver((_, observer) => {
        const button = sheet.querySelector('[data-key="1"]');
        if (!button) return;
        observer.disconnect();
        button.click();
        resolve(true);
      }).observe(sheet, { childList: true });
    }));
    assert.ok(pressed);
    await armed(page);
    assert.equal((await one.owner('GET', '/api/prompts')).prompts.length, 1);
    await press(page, /^Not now/);
    assert.equal((await waits).slug, 'denied-now');
  }));

  test('R53 two windows: one answers, and the other one knows', () => watch(one, async (page, other) => {
    const waits = one.call('POST', '/notes', { text: 'Two windows' });
    await asks(page, 'alice wants to add a note');
    await asks(other, 'alice wants to add a note');
    await press(page, /^Once/);
    assert.equal((await waits).status, 201);
    await gone(other);
    await told(other, 'is gone');
  }, { windows: 2 }));

  test('R53 several prompts: how many wait, the next one, and silence for one user', () => watch(one, async (page) => {
    const alices = [1, 2, 3].map(() => one.call('GET', '/videos'));
    await asks(page, 'alice wants to see the list of videos');
    await sheet(page).getByText('3 requests wait').waitFor();
    const bobs = one.call('GET', '/videos', undefined, { user: 'bob' });
    await sheet(page).getByText('1 more question waits').waitFor();
    await sheet(page).getByRole('button', { name: 'Show the next' }).click();
    await asks(page, 'bob wants to see the list of videos');
    await press(page, /^Silence bob/);
    assert.equal((await bobs).slug, 'denied-now');
    await asks(page, 'alice wants to see the list of videos');
    await press(page, /^Once/);
    const ended = await Promise.all(alices);
    assert.deepEqual(ended.map(({ status }) => status).sort(), [200, 403, 403], 'once is once');
    await page.getByRole('list', { name: 'Silenced' }).getByText('bob').waitFor();
    assert.equal((await one.call('GET', '/notes', undefined, { user: 'bob' })).slug, 'denied-now');
    await page.getByRole('button', { name: 'Let ask again' }).click();
    const again = one.call('GET', '/notes', undefined, { user: 'bob' });
    await asks(page, 'bob wants to see the list of notes');
    await press(page, /^Not now/);
    await again;
  }));

  test('R53 without the stream the prompts come all the same', () => watch(one, async (page) => {
    await page.route('**/api/stream', (route) => route.abort());
    await page.reload();
    const waits = one.call('POST', '/notes', { text: 'Polled' });
    await asks(page, 'alice wants to add a note');
    await press(page, /^Not now/);
    assert.equal((await waits).slug, 'denied-now');
    await gone(page);
  }));

  test('R53 the agent dies and comes back: the screen says so, and goes on by itself', async () => {
    const mortal = await handset();
    await watch(mortal, async (page) => {
      await page.locator('#linked:not(.off)').waitFor();
      await mortal.kill();
      await page.getByText('The handset does not answer').waitFor();
      await mortal.run();
      await page.getByText('The handset does not answer').waitFor({ state: 'hidden' });
      const waits = mortal.call('GET', '/notes');
      await asks(page, 'alice wants to see the list of notes');
      await press(page, /^Once/);
      assert.equal((await waits).status, 200);
    }, { quiet: false });
  });
});

describe('nobody to ask', () => {
  test('R50 with the notifier off the screen says that nobody is asked', async () => {
    const open = await handset({ top: 'authentication = "none"', users: {}, tables: '[consent]\nenabled = false\n' });
    await watch(open, async (page) => {
      await page.getByText('Nobody is asked').waitFor();
      assert.equal((await open.call('GET', '/contacts', undefined, { user: 'x', password: 'y' })).status, 200);
      assert.equal(await page.locator('#sheet').isVisible(), false);
      for (const name of ['Access', 'Users', 'Audit', 'Simulate']) await go(page, name);
      await look(page, 'notifier-off');
    });
  });
});

describe('what others write', () => {
  test('R53 a name and a message that would be markup are text, and unseen characters are seen', async () => {
    const mallory = '<img src=x onerror="window.hacked=1">';
    const one = await handset({ users: { [mallory]: 'wonderland' } });
    await watch(one, async (page) => {
      const text = '<script>window.hacked = 1</script>\nPay \u202e001 to me\u200b';
      const waits = one.call('POST', '/services/send-sms', { number: '+34600123451', text }, { user: mallory });
      await sheet(page).getByRole('heading', { name: `${mallory} wants to send an SMS` }).waitFor();
      const shown = await sheet(page).locator('dd').last().textContent();
      assert.equal(shown, '<script>window.hacked = 1</script>\nPay ⟨U+202E⟩001 to me⟨U+200B⟩');
      await look(page, 'hostile-sheet');
      await press(page, /^Always/);
      await waits;
      for (const name of ['Access', 'Users', 'Audit']) {
        await go(page, name);
        await page.locator('main li').getByText(mallory).first().waitFor();
        await look(page, `hostile-${name.toLowerCase()}`);
      }
      assert.equal(await page.evaluate(() => window.hacked), undefined);
      assert.equal(await page.locator('main img, #sheet img, #face img').count(), 0);
    });
  });

  test('R53 a long name and a long message leave the six answers in sight', async () => {
    const long = 'Konstantinopolitanischer'.repeat(8).slice(0, 180);
    const one = await handset({ users: { [long]: 'wonderland' } });
    await watch(one, async (page) => {
      const waits = one.call('POST', '/services/send-sms', { number: '+34600123451', text: 'W'.repeat(1500) }, { user: long });
      await asks(page, /wants to send an SMS/);
      await armed(page);
      for (const name of [/^Always/, /^Once/, /^For a time/, /^Some times/, /^Not now/, /^Never/]) {
        const box = await sheet(page).getByRole('button', { name }).boundingBox();
        assert.ok(box.y >= 0 && box.y + box.height <= phone.height, `${name} at ${box.y}`);
      }
      await look(page, 'long-sheet-phone');
      await press(page, /^Not now/);
      await waits;
    }, { viewport: phone });
  });
});

describe('the owner manages', () => {
  let one;
  before(async () => { one = await handset(); });

  test('R66 the access list: add, change, delete, and each takes effect', () => watch(one, async (page) => {
    const list = page.getByRole('list', { name: 'Entries' });
    await page.getByText('There are no entries').waitFor();
    await page.getByText('Add an entry').click();
    await page.getByLabel('Remote user').selectOption('alice');
    await page.getByLabel('Resource').selectOption('contacts');
    await page.getByLabel('To', { exact: true }).selectOption('see the list of contacts');
    await page.getByLabel('Access', { exact: true }).selectOption('Never allowed');
    await page.getByRole('button', { name: 'Add entry' }).click();
    await list.getByText('alice may not see the list of contacts').waitFor();
    assert.equal((await one.call('GET', '/contacts')).slug, 'denied');

    await list.getByRole('button', { name: 'Change' }).click();
    await list.getByLabel('Access').selectOption('Allowed a number of times');
    await list.getByLabel('Times').fill('2');
    await list.getByRole('button', { name: 'Change entry' }).click();
    await list.getByText('2 uses left').waitFor();
    assert.equal((await one.call('GET', '/contacts')).status, 200);
    await list.getByText('1 use left').waitFor();

    await list.getByRole('button', { name: 'Delete' }).click();
    await list.getByText('Delete this entry?').waitFor();
    await page.keyboard.press('Escape');
    await list.getByRole('button', { name: 'Delete' }).click();
    await list.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('There are no entries').waitFor();
    const asked = one.call('GET', '/contacts');
    await asks(page, 'alice wants to see the list of contacts');
    await press(page, /^Not now/);
    await asked;
  }));

  test('R49 R66 remote users: add, lock out and unlock, new password, delete', () => watch(one, async (page) => {
    await go(page, 'Users');
    const list = page.getByRole('list', { name: 'Remote users' });
    await page.getByText('Add a remote user').click();
    await page.getByLabel('Name').fill('carol');
    await page.getByLabel('Password, 8').fill('short');
    await page.getByRole('button', { name: 'Add user' }).click();
    await page.locator('#toast .bad').waitFor();
    await page.getByLabel('Password, 8').fill('battery staple');
    await page.getByRole('button', { name: 'Add user' }).click();
    const carol = list.getByRole('listitem').filter({ hasText: 'carol' });
    await carol.waitFor();
    await one.owner('POST', '/api/access', { user: 'carol', resource: '*', action: '*', kind: 'unlimited' });
    assert.equal((await one.call('GET', '/notes', undefined, { user: 'carol', password: 'battery staple' })).status, 200);

    await carol.getByRole('button', { name: 'New password' }).click();
    await carol.getByLabel('New password').fill('correct horse');
    await carol.getByRole('button', { name: 'Set password' }).click();
    await told(page, 'has the new password');
    const old = await one.call('GET', '/notes', undefined, { user: 'carol', password: 'battery staple' });
    assert.equal(old.status, 401);
    // So many wrong ones that even the right one has to wait.
    await until('carol is slowed', async () => {
      const { status } = await one.call('GET', '/notes', undefined, { user: 'carol', password: 'wrong again' });
      return status === 429;
    });
    await go(page, 'Audit');
    await go(page, 'Users');
    await carol.getByText(/[0-9] wrong passwords/).waitFor();
    await look(page, 'users-slowed');
    await carol.getByRole('button', { name: 'Unlock' }).click();
    await told(page, 'may sign in again');
    assert.equal((await one.call('GET', '/notes', undefined, { user: 'carol', password: 'correct horse' })).status, 200);

    await carol.getByRole('button', { name: 'Delete' }).click();
    await carol.getByRole('button', { name: 'Delete' }).click();
    await carol.waitFor({ state: 'detached' });
    assert.equal((await one.call('GET', '/notes', undefined, { user: 'carol', password: 'correct horse' })).status, 401);
  }));

  test('R53 R66 the audit log is filtered and exported', () => watch(one, async (page) => {
    const denied = one.call('POST', '/notes', { text: 'For the log' });
    await asks(page, 'alice wants to add a note');
    await press(page, /^Not now/);
    await denied;
    await go(page, 'Audit');
    const log = page.getByRole('list', { name: 'Audit log' });
    await log.getByText('For the log').waitFor();
    await look(page, 'audit');
    await page.getByLabel('Decision').selectOption('allowed');
    await log.getByText('For the log').waitFor({ state: 'detached' });
    await page.getByLabel('Decision').selectOption('denied');
    await page.getByLabel('Remote user').fill('alice');
    await page.keyboard.press('Enter');
    await log.getByText('For the log').waitFor();
    for (const [label, holds] of [['Export as CSV', 'For the log'], ['Export as JSON Lines', '"For the log"']]) {
      const download = page.waitForEvent('download');
      await page.getByRole('link', { name: label }).click();
      const text = await readFile(await (await download).path(), 'utf8');
      assert.ok(text.includes(holds), `${label}: ${text}`);
    }
  }));

  test('R24 R32 R36 R37 R38 what befalls the simulated handset shows', () => watch(one, async (page) => {
    await one.owner('POST', '/api/access', { user: 'alice', resource: '*', action: '*', kind: 'unlimited' });
    await go(page, 'Simulate');
    await page.getByLabel('Charger plugged in').check();
    await page.getByRole('img', { name: /Battery: \d+ %, charging/ }).waitFor();
    await page.getByLabel('Calls for attention').selectOption('silent');
    await page.getByRole('img', { name: 'Mode: Silent' }).waitFor();
    await page.getByLabel('Within coverage').uncheck();
    await page.getByRole('img', { name: 'Coverage: 0 of 5 bars' }).waitFor();
    await page.getByText('No network').waitFor();
    await page.getByLabel('Within coverage').check();
    await page.getByRole('img', { name: /Coverage: [1-5] of 5 bars/ }).waitFor();

    const sms = page.locator('section.card', { hasText: 'An SMS comes' });
    await sms.getByLabel('Text').fill('See <you> at 8');
    await sms.getByRole('button').click();
    await page.getByRole('list', { name: 'What happened' }).getByText('New SMS').waitFor();
    const kept = JSON.parse((await one.call('GET', '/sms')).text).sms;
    assert.deepEqual(kept.map(({ text, direction }) => [text, direction]), [['See <you> at 8', 'in']]);

    for (const [part, words] of [['An MMS comes', 'New MMS'], ['An email comes', 'New email']]) {
      const card = page.locator('section.card', { hasText: part });
      await card.getByLabel('Subject').fill('Hello');
      await card.getByLabel('Text').fill('Hello there');
      await card.getByRole('button').click();
      await page.getByRole('list', { name: 'What happened' }).getByText(words).waitFor();
    }

    const calls = page.getByRole('list', { name: 'Calls' });
    await page.getByRole('button', { name: 'Call this handset' }).click();
    await calls.getByText('+34600123456').waitFor();
    await look(page, 'ringing');
    await calls.getByRole('button', { name: 'Answer' }).click();
    await calls.getByText('Speaking').waitFor();
    await calls.getByRole('button', { name: 'Hang up' }).click();
    await calls.getByText('Speaking').waitFor({ state: 'detached' });
    await page.getByLabel('Number withheld').check();
    await page.getByRole('button', { name: 'Call this handset' }).click();
    await calls.getByText('Withheld number').waitFor();
    await calls.getByRole('button', { name: 'Decline' }).click();
    await calls.getByText('Withheld number').waitFor({ state: 'detached' });
    await until('both calls are in the log', async () => (await one.call('GET', '/incoming-calls')).text.split('"outcome"').length === 3);

    await page.getByLabel('SIM card inside').uncheck();
    await page.getByText('No SIM card').waitFor();
    await page.getByRole('button', { name: 'Call this handset' }).click();
    await told(page, 'can’t be reached');
    await page.getByLabel('SIM card inside').check();
  }));
});

describe('a flood', () => {
  test('R53 a thousand requests a second leave the screen usable', async () => {
    const one = await handset({ top: 'data_channels_max = 64' });
    await watch(one, async (page) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
      const answers = {};
      let sent = 0;
      let ended = 0;
      const began = Date.now();
      const flood = new Promise((resolve) => {
        const timer = setInterval(() => {
          const due = Math.min(5_000, Date.now() - began);
          for (; sent < due; sent += 1) {
            one.call('POST', '/notes', { text: `Flood ${sent % 50}` }, { agent }).then(({ status }) => status, () => 0).then((status) => {
              answers[status] = (answers[status] ?? 0) + 1;
              ended += 1;
            });
          }
          if (sent >= 5_000) {
            clearInterval(timer);
            resolve();
          }
        }, 10);
      });
      await asks(page, 'alice wants to add a note');
      // Answers, with the time from the press until the next question or the end is up.
      const waits = [];
      while (Date.now() - began < 4_000) {
        await armed(page);
        const pressed = Date.now();
        const before = await page.locator('#sheet dd').first().textContent();
        await sheet(page).getByRole('button', { name: /^Not now/ }).click();
        await page.waitForFunction((words) => document.querySelector('#sheet dd')?.textContent !== words, before);
        waits.push(Date.now() - pressed);
      }
      await press(page, /^Silence alice/);
      await flood;
      await gone(page);
      await until('everything is answered', () => ended === 5_000);
      console.log(`  5,000 requests: ${JSON.stringify(answers)}; ${waits.length} answers of the owner, the slowest took ${Math.max(...waits)} ms`);
      assert.ok(waits.length >= 2, 'the owner got to answer');
      await look(page, 'after-flood');
      agent.destroy();
    });
  });
});

describe('the look', () => {
  for (const [name, viewport, colorScheme] of [
    ['desk-light', desk, 'light'], ['desk-dark', desk, 'dark'], ['phone-light', phone, 'light'], ['phone-dark', phone, 'dark'],
  ]) {
    test(`R53 ${name}`, async () => {
      const one = await handset();
      await watch(one, async (page) => {
        await one.owner('POST', '/api/access', { user: 'alice', resource: 'contacts', action: 'list', kind: 'temporary', seconds: 600 });
        await one.owner('POST', '/api/users', { name: 'bob', password: 'battery staple' });
        await one.owner('POST', '/api/access', { user: 'bob', resource: '*', action: '*', kind: 'permanently-denied' });
        await one.call('GET', '/contacts');
        await page.locator('#linked:not(.off)').waitFor();
        await page.locator('#face').getByText(`+${one.msisdn}`).waitFor({ state: 'attached' });
        await look(page, `home-${name}`);
        for (const section of ['Access', 'Users', 'Audit', 'Simulate']) {
          await go(page, section);
          const summary = page.locator('summary');
          if (await summary.count()) await summary.click();
          await look(page, `${section.toLowerCase()}-${name}`);
        }
        const sms = one.call('POST', '/services/send-sms', { number: '+34600123451', text: 'Shall we meet at 8?' });
        await asks(page, 'alice wants to send an SMS');
        const still = await page.locator('#panel').boundingBox();
        await armed(page);
        await look(page, `sheet-${name}`);
        for (const answer of [/^Always/, /^Once/, /^For a time/, /^Some times/, /^Not now/, /^Never/]) {
          const box = await sheet(page).getByRole('button', { name: answer }).boundingBox();
          assert.ok(box.y >= 0 && box.y + box.height <= viewport.height && box.x + box.width <= viewport.width, `${answer} is in sight`);
        }
        await press(page, /^For a time/);
        await look(page, `time-${name}`);
        await sheet(page).getByRole('button', { name: 'Back' }).click();
        await press(page, /^Not now/);
        await sms;
        await gone(page);
        assert.deepEqual(await page.locator('#panel').boundingBox(), still, 'the sheet moves nothing');
      }, { viewport, colorScheme, reducedMotion: name === 'phone-dark' ? 'reduce' : 'no-preference' });
    });
  }
});
