import { Live } from '../src/live';
import { ISink, Row } from '../src/tokens';

class FakeSocket {
  readyState = 0;
  readonly sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  hear(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

class Heard implements ISink {
  readonly rows: Row[] = [];
  readonly said: string[] = [];

  events(rows: readonly Row[]): void {
    this.rows.push(...rows);
  }

  info(): void {
    this.said.push('info');
  }

  unknown(message: string): void {
    this.said.push(message);
  }
}

const ID = 'b'.repeat(32);

function started(): [Live, FakeSocket[]] {
  const sockets: FakeSocket[] = [];
  const live = new Live(
    () => {
      sockets.push(new FakeSocket());
      return sockets[sockets.length - 1] as unknown as WebSocket;
    },
    () => 1
  );
  return [live, sockets];
}

function at<T>(items: readonly T[], index: number): T {
  const found = items.at(index);
  if (found === undefined) {
    throw new Error(`there is no item ${index}`);
  }
  return found;
}

describe('the connection of a tab', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('is not opened before something is shown, and closed when nothing is', () => {
    const [live, sockets] = started();
    expect(sockets).toHaveLength(0);
    const shown = live.follow(ID, true, () => 0, new Heard());
    at(sockets, 0).open();
    expect(at(sockets, 0).sent).toEqual([{ op: 'follow', task_id: ID, output: true, first: 0 }]);
    shown.dispose();
    expect(at(at(sockets, 0).sent, -1)).toEqual({ op: 'unfollow', task_id: ID });
    jest.advanceTimersByTime(11_000);
    expect(at(sockets, 0).readyState).toBe(3);
    jest.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
  });

  it('comes back, later each time, and goes on where it stopped', () => {
    const [live, sockets] = started();
    const sink = new Heard();
    live.follow(ID, true, () => sink.rows.length, sink);
    at(sockets, 0).open();
    at(sockets, 0).hear({ type: 'events', task_id: ID, events: [[0, 'stdout', 1, 'a']] });
    at(sockets, 0).close();
    expect(live.status).toBeNull();
    jest.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
    at(sockets, 1).close();
    jest.advanceTimersByTime(999);
    expect(sockets).toHaveLength(2);
    jest.advanceTimersByTime(1);
    at(sockets, 2).open();
    expect(at(sockets, 2).sent).toEqual([{ op: 'follow', task_id: ID, output: true, first: 1 }]);
  });

  it('asks for as much as the most curious card wants', () => {
    const [live, sockets] = started();
    live.follow(ID, false, () => 0, new Heard());
    at(sockets, 0).open();
    live.follow(ID, true, () => 7, new Heard());
    expect(at(sockets, 0).sent.map(said => [said.output, said.first])).toEqual([
      [false, 0],
      [true, 7]
    ]);
  });

  it('is not thrown by nonsense', () => {
    const [live, sockets] = started();
    const sink = new Heard();
    live.follow(ID, true, () => 0, sink);
    at(sockets, 0).open();
    at(sockets, 0).onmessage?.({ data: '{' });
    at(sockets, 0).hear([1]);
    at(sockets, 0).hear({ type: 'dance' });
    at(sockets, 0).hear({ type: 'unknown', task_id: ID, message: 'no task' });
    expect(sink.said).toEqual(['no task']);
  });

  it('follows maps beside tasks, and asks for them anew when it comes back', () => {
    const [live, sockets] = started();
    const heard: unknown[] = [];
    const sink = { group: (info: unknown) => heard.push(info), unknown: () => heard.push(null) };
    const shown = live.followGroup(ID, sink);
    at(sockets, 0).open();
    const asked = { op: 'follow', task_id: ID, group: true };
    expect(at(sockets, 0).sent).toEqual([asked]);
    at(sockets, 0).hear({ type: 'group', task_id: ID, info: { active: 1 } });
    at(sockets, 0).hear({ type: 'group', task_id: 'c'.repeat(32), info: { active: 2 } });
    expect(heard).toEqual([{ active: 1 }]);
    at(sockets, 0).close();
    jest.advanceTimersByTime(1000);
    at(sockets, 1).open();
    expect(at(sockets, 1).sent).toEqual([asked]);
    at(sockets, 1).hear({ type: 'unknown', task_id: ID, message: 'gone' });
    expect(heard).toEqual([{ active: 1 }, null]);
    shown.dispose();
    expect(at(at(sockets, 1).sent, -1)).toEqual({ op: 'unfollow', task_id: ID, group: true });
  });
});
