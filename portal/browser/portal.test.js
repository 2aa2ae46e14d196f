// The portal as a remote user sees it: signing in, the menu, adding a contact, deleting it, in a real browser,
// with and without JavaScript, in a phone's window and in a desk's. See run.sh for what it wants in the environment.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';

const { PORTAL_URL, SCREENSHOTS } = process.env;
const msisdn = process.env.PORTAL_MSISDN ?? '34600000001';
const user = process.env.PORTAL_USER ?? 'alice';
const password = process.env.PORTAL_PASSWORD ?? 'wonderland';
assert.ok(PORTAL_URL, 'PORTAL_URL must say where the portal is');
if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });

const phone = { width: 390, height: 844 };
const desk = { width: 1280, height: 800 };
const ways = [
  { called: 'desk-light', viewport: desk, colorScheme: 'light', javaScriptEnabled: true },
  { called: 'desk-dark-no-script', viewport: desk, colorScheme: 'dark', javaScriptEnabled: false },
  { called: 'phone-light-no-script', viewport: phone, colorScheme: 'light', javaScriptEnabled: false },
  { called: 'phone-dark', viewport: phone, colorScheme: 'dark', javaScriptEnabled: true },
];

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser?.close());

// A fresh visitor, whose page must never complain on its console nor ask anybody but the portal for anything.
async function visit(way, journey) {
  const { called, ...options } = way;
  const context = await browser.newContext({ ...options, baseURL: PORTAL_URL });
  const page = await context.newPage();
  const complaints = [];
  const origin = new URL(PORTAL_URL).origin;
  page.on('console', (message) => {
    // Chromium reports any answer of 400 and above on the console too; those have tests of their own.
    if (!message.text().startsWith('Failed to load resource')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`asked for ${request.url()}`);
  });
  page.setDefaultTimeout(20_000);
  try {
    await journey(page, (name) => look(page, `${name}-${called}`));
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

// What must hold for the look of every page, and its picture.
async function look(page, name) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${name} is ${content} px wide in a window of ${window} px`);
  const small = await page.evaluate(() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]
    .filter((one) => one.checkVisibility() && !one.closest('dd, p:not(.actions), .skip') && !one.matches('.skip'))
    .filter((one) => one.getBoundingClientRect().height < 24)
    .map((one) => one.outerHTML));
  assert.deepEqual(small, [], `${name}: too small for a finger`);
  assert.equal(await page.locator('h1').count(), 1, `${name} has one main heading`);
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

async function signIn(page, secret = password) {
  await page.getByLabel('Number of the handset').fill(msisdn);
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
}

// The contact may be on a later page of the list.
async function find(page, name) {
  for (;;) {
    const link = page.getByRole('link', { name: `Delete ${name}` });
    if (await link.count()) return link;
    const more = page.getByRole('link', { name: 'More contacts' });
    if (!(await more.count())) return undefined;
    await more.click();
  }
}

const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();

for (const way of ways) {
  describe(way.called, () => {
    test('R67 R68 the menu stands open to everybody, and picking a resource asks for a sign-in', () =>
      visit(way, async (page, look) => {
        await page.goto('/');
        await heading(page, 'Your handset, from any browser');
        assert.equal(await page.locator('.tile').count(), 21);
        await look('welcome');
        await page.getByRole('link', { name: 'Contacts' }).click();
        await heading(page, 'Sign in to your handset');
        await look('sign-in');
      }));

    test('R69 a wrong password is told as such', () =>
      visit(way, async (page, look) => {
        await page.goto('/sign-in');
        await signIn(page, 'not the password');
        await page.getByRole('alert').getByText('The handset did not let you in').waitFor();
        assert.equal(await page.getByLabel('User name').inputValue(), user);
        assert.equal(await page.getByLabel('Password').inputValue(), '');
        await look('sign-in-refused');
      }));

    test('R70 R72 R75 a contact is added and deleted, and each page after it tells how it went', () =>
      visit(way, async (page, look) => {
        const name = `Test <b>"Person"</b> & ${randomBytes(4).toString('hex')}`;
        await page.goto('/contacts');
        await signIn(page);
        await heading(page, 'Contacts');
        await look('contacts');

        await page.getByRole('link', { name: 'Add a contact' }).click();
        await page.getByLabel('Name').fill(name);
        await page.getByLabel('Kind of phone', { exact: true }).selectOption('Work');
        await page.getByLabel('Phone', { exact: true }).fill('+34 600 765 432');
        await page.getByText('More than one phone').click();
        await page.getByLabel('Phone 2', { exact: true }).fill('24024');
        await page.getByLabel('Email', { exact: true }).fill('test@example.com');
        await page.getByLabel('Note').fill('two\nlines');
        await look('add');
        await page.getByRole('button', { name: 'Add contact' }).click();
        await heading(page, 'Contact added');
        await page.getByText(name).waitFor();
        await look('added');
        await page.reload();
        await heading(page, 'Contact added');

        await page.getByRole('link', { name: 'Back to contacts' }).click();
        await heading(page, 'Contacts');
        const link = await find(page, name);
        assert.ok(link, 'the contact is in the list');
        assert.equal(await link.count(), 1, 'once');
        await look('contacts-after');
        await link.click();
        await heading(page, 'Delete this contact?');
        await look('delete');
        const question = page.url();
        await page.getByRole('button', { name: 'Delete contact' }).click();
        await heading(page, 'Contact deleted');
        await look('deleted');
        await page.goto(question);
        await heading(page, 'Not there any more');
        await look('gone');
        await page.goto('/contacts');
        assert.equal(await find(page, name), undefined, 'the contact is gone');

        await page.goto('/');
        await heading(page, `+${msisdn}`);
        await look('menu');
        await page.getByRole('button', { name: 'Sign out' }).click();
        await heading(page, 'Your handset, from any browser');
        await page.goto('/contacts');
        await heading(page, 'Sign in to your handset');
      }));

    test('R76 what is not there yet, and what will never be, are pages', () =>
      visit(way, async (page, look) => {
        await page.goto('/notes');
        await heading(page, 'Notes: not available yet');
        await look('not-yet');
        await page.goto('/nowhere/at/all');
        await heading(page, 'Nothing here');
        await look('nowhere');
      }));
  });
}

test('R77 the keyboard is enough', () =>
  visit(ways[0], async (page) => {
    await page.goto('/');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the page');
    await page.goto('/sign-in');
    await page.getByLabel('Number of the handset').focus();
    for (const [words, key] of [[msisdn, 'Tab'], [user, 'Tab'], [password, 'Enter']]) {
      await page.keyboard.type(words);
      await page.keyboard.press(key);
    }
    await heading(page, `+${msisdn}`);
  }));

test('R76 a handset that is away is told as such', () =>
  visit(ways[0], async (page) => {
    await page.goto('/sign-in');
    await page.getByLabel('Number of the handset').fill('34699999999');
    await page.getByLabel('User name').fill(user);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('The handset is offline').waitFor();
    await look(page, 'offline-desk-light');
  }));
