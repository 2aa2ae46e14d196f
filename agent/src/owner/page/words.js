// The words for what remote users may do, as the handset has them.

import { api } from './net.js';

export const resources = new Map();

export async function learn() {
  const { resources: list } = await api('GET', '/api/resources');
  resources.clear();
  for (const { name, actions } of list) {
    resources.set(name, new Map(actions.map((action) => [action.name, action.says])));
  }
}

// `contacts`, `list`: "see the list of contacts".
export function says(resource, action, denied = false) {
  // Of a lockout, which the audit log tells of and nothing permits.
  if (resource === 'sign-in') return 'sign in';
  const all = denied ? 'anything' : 'everything';
  if (resource === '*') return action === '*' ? `do ${all}` : `${action} anything`;
  if (action === '*') return `do ${all} with ${resource}`;
  return resources.get(resource)?.get(action) ?? `${action} ${resource}`;
}

export const KINDS = [
  ['unlimited', 'Always allowed'],
  ['temporary', 'Allowed for a time'],
  ['number-of-times', 'Allowed a number of times'],
  ['one-time', 'Allowed once'],
  ['once-denied', 'Denied once'],
  ['permanently-denied', 'Never allowed'],
];

export const kindWords = (kind) => KINDS.find(([name]) => name === kind)?.[1] ?? kind;

export const BY = {
  list: 'by the access list',
  owner: 'by you',
  'no-answer': 'nobody answered',
  limit: 'too many requests',
  silenced: 'silenced by you',
  withdrawn: 'the caller went away',
  off: 'nobody is asked: the notifier is off',
  lockout: 'locked out: too many wrong passwords',
};
