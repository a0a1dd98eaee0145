/** Numbers and texts as people read them. */

/** `0.3 s`, `12 s`, `3 min 5 s`, `2 h 4 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) {
    return `${s.toFixed(1)} s`;
  }
  if (s < 59.5) {
    return `${Math.round(s)} s`;
  }
  const minutes = Math.floor(Math.round(s) / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(s) % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `512 B`, `1.4 MB`. */
export function bytes(count: number): string {
  let value = count;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (value < 1000 || unit === 'GB') {
      return unit === 'B' || value >= 100
        ? `${Math.round(value)} ${unit}`
        : `${value.toFixed(1)} ${unit}`;
    }
    value /= 1000;
  }
  return '';
}

/** A number without needless digits. */
export function amount(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(3).replace(/\.?0+$/, '');
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
