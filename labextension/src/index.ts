import { cards } from './card/plugin';
import { live, requests } from './connection';
import { panel } from './panel/plugin';

export * from './tokens';

export default [requests, live, cards, panel];
