/** What else is known of an error of the machinery; the kernel says the same (jupyter_fx_kernel/details.py). */

import { isRecord } from '../requests';

const ROWS: readonly [string, string][] = [
  ['signal', 'signal'],
  ['exit_code', 'exit code'],
  ['finished', 'items finished'],
  ['node', 'node'],
  ['job', 'job'],
  ['attempt', 'attempt']
];
const LINES = 40;
const MOST = 8192;

/** Lines of plain text, from what an endpoint says: anything may be in it. */
export function detailsOf(told: unknown): string {
  if (!isRecord(told)) {
    return '';
  }
  const rows = ROWS.flatMap(([key, name]) => {
    const value = told[key];
    return typeof value === 'number' || (typeof value === 'string' && value !== '')
      ? [`${name}: ${value}`]
      : [];
  });
  if (typeof told.rss === 'number' && told.rss > 0) {
    rows.push(`peak memory: ${Math.round(told.rss / 2 ** 20).toLocaleString('en')} MiB`);
  }
  if (Array.isArray(told.last_lines) && told.last_lines.length > 0) {
    rows.push('the last lines that it wrote:');
    rows.push(...told.last_lines.slice(-LINES).map(line => `    ${String(line)}`));
  }
  return rows.join('\n').slice(0, MOST);
}
