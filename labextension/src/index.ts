import { cards } from './card/plugin';
import { live, requests } from './connection';

export * from './tokens';

export default [requests, live, cards];
