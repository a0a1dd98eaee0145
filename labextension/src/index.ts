import { cards } from './card/plugin';
import { commands } from './commands';
import { live, requests } from './connection';
import { front } from './front/plugin';
import { launcher } from './launcher';
import { notices } from './notices/plugin';
import { panel } from './panel/plugin';
import { settings } from './settings';
import { status } from './status';
import { toolbar } from './toolbar/plugin';

export * from './tokens';

export default [
  requests,
  live,
  settings,
  front,
  notices,
  cards,
  panel,
  commands,
  toolbar,
  status,
  launcher
];
