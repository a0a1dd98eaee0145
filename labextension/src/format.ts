/** Numbers and texts as people read them, in the language of the page's translation. */

import { TranslationBundle } from '@jupyterlab/translation';

/** Numbers are written as the translation says, not as the browser would: half a page in a language misleads. */
function written(value: number, trans: TranslationBundle, how: Intl.NumberFormatOptions): string {
  const tag = trans._p('BCP 47 tag of the language, by which numbers are written', 'en');
  try {
    return value.toLocaleString(tag, how);
  } catch {
    return value.toLocaleString('en', how);
  }
}

function tenths(value: number, trans: TranslationBundle): string {
  return written(value, trans, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

/** `0.3 s`, `12 s`, `3 min 5 s`, `2 h 4 min`. */
export function duration(seconds: number, trans: TranslationBundle): string {
  const s = Math.max(0, seconds);
  if (s < 59.5) {
    return trans.__('%1 s', s < 9.95 ? tenths(s, trans) : Math.round(s));
  }
  const minutes = Math.floor(Math.round(s) / 60);
  return minutes < 60
    ? trans.__('%1 min %2 s', minutes, Math.round(s) % 60)
    : trans.__('%1 h %2 min', Math.floor(minutes / 60), minutes % 60);
}

/** Minutes and hours: a clock that moves every second would draw the eye. */
export function coarse(seconds: number, trans: TranslationBundle): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) {
    return trans.__('< 1 min');
  }
  return minutes < 60 ? trans.__('%1 min', minutes) : duration(minutes * 60, trans);
}

/** `512 B`, `1.4 MB`. */
export function bytes(count: number, trans: TranslationBundle): string {
  const steps = [1, 1e3, 1e6, 1e9] as const;
  const step = [...steps].reverse().find(one => count >= one) ?? 1;
  const value = count / step;
  const figure = step === 1 || value >= 100 ? Math.round(value) : tenths(value, trans);
  switch (step) {
    case 1:
      return trans.__('%1 B', figure);
    case 1e3:
      return trans.__('%1 kB', figure);
    case 1e6:
      return trans.__('%1 MB', figure);
    case 1e9:
      return trans.__('%1 GB', figure);
  }
}

/** A number without needless digits. */
export function amount(value: number, trans: TranslationBundle): string {
  const how = Number.isInteger(value) ? {} : { maximumSignificantDigits: 3 };
  return written(value, trans, { ...how, useGrouping: false });
}

/** A number of things. */
export function count(value: number, trans: TranslationBundle): string {
  return Math.abs(value) >= 100 ? written(Math.round(value), trans, {}) : amount(value, trans);
}

/** The time of day; with the date when it was not today. */
export function clock(seconds: number, now: number): string {
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return at.toDateString() === new Date(now * 1000).toDateString()
    ? time
    : `${at.toLocaleDateString()} ${time}`;
}

// Bidirectional controls can make a text read as another one; other controls do nothing good in a page.

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A text from elsewhere without what could deceive: controls are left out, bidirectional ones are spelled. */
export function plain(text: string): string {
  return text
    .replace(CONTROLS, '')
    .replace(BIDI, found => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
