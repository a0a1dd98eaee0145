/** Puts the item into notebooks' toolbars, and makes its menu. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { MenuSvg } from '@jupyterlab/ui-components';
import { h, VirtualElement } from '@lumino/virtualdom';
import { Menu } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import { plain } from '../format';
import { endpointState } from '../states';
import { IEndpointInfo, IFxFront, IFxLive } from '../tokens';
import { WhereItem } from './item';

/** Endpoints in the menu; the panel has them all. */
const MOST = 20;

/** Separators are no stop for the keyboard, and are called what they are. */
class Renderer extends MenuSvg.Renderer {
  override renderItem(data: Menu.IRenderData): VirtualElement {
    if (data.item.type !== 'separator') {
      return super.renderItem(data);
    }
    const className = this.createItemClass(data);
    const dataset = this.createItemDataset(data);
    return h.li(
      { className, dataset, role: 'separator' },
      this.renderIcon(data),
      this.renderLabel(data),
      this.renderShortcut(data),
      this.renderSubmenu(data)
    );
  }
}

export const toolbar: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:toolbar',
  description: 'Shows in a notebook’s toolbar where its remote cells run.',
  autoStart: true,
  requires: [IToolbarWidgetRegistry, IFxFront, IFxLive],
  optional: [ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    registry: IToolbarWidgetRegistry,
    front: IFxFront,
    live: IFxLive,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const items = new Map<NotebookPanel, WhereItem>();
    const menu = new MenuSvg({ commands: app.commands, renderer: new Renderer() });
    menu.addClass('fx-menu');
    menu.title.label = trans.__('Where remote cells run');
    menu.contentNode.setAttribute('aria-label', menu.title.label);
    let opener: HTMLElement | null = null;
    menu.aboutToClose.connect(() => {
      opener?.setAttribute('aria-expanded', 'false');
      opener?.focus();
      opener = null;
    });

    const label = (one: IEndpointInfo): string =>
      one.state === 'ONLINE' ? one.name : `${one.name} (${plain(endpointState(one.state, trans))})`;

    /** The endpoints as they are now, the one in use first. */
    const fill = (): void => {
      menu.clearItems();
      const used = front.endpoint(live.state);
      const all = live.state?.endpoints ?? [];
      const mine = all.filter(one => one.name === used);
      const others = all
        .filter(one => one.name !== used)
        .sort((a, b) => Number(b.state === 'ONLINE') - Number(a.state === 'ONLINE'));
      for (const one of [...mine, ...others].slice(0, MOST)) {
        const args = { endpoint: one.name, label: label(one) };
        menu.addItem({ command: CommandIDs.useEndpoint, args });
      }
      if (menu.items.length > 0) {
        menu.addItem({ type: 'separator' });
      }
      for (const command of [CommandIDs.newSession, CommandIDs.closeSession]) {
        menu.addItem({ command });
      }
      if (app.commands.hasCommand(CommandIDs.open)) {
        menu.addItem({ type: 'separator' });
        menu.addItem({ command: CommandIDs.open });
      }
    };

    const open = (below: HTMLElement): void => {
      fill();
      const { left, bottom } = below.getBoundingClientRect();
      opener = below;
      below.setAttribute('aria-expanded', 'true');
      menu.open(left, bottom);
    };

    registry.addFactory<NotebookPanel>('Notebook', 'jupyter-fx-where', panel => {
      const item = new WhereItem(panel, { front, live, trans, menu: open });
      items.set(panel, item);
      item.disposed.connect(() => items.delete(panel));
      return item;
    });
    app.commands.addCommand(CommandIDs.chooseEndpoint, {
      label: trans.__('Choose Where Remote Cells Run …'),
      caption: trans.__('Open the menu of the notebook toolbar’s item'),
      isEnabled: () => front.panel !== null && items.has(front.panel),
      execute: () => {
        const { panel } = front;
        if (panel !== null) {
          items.get(panel)?.open();
        }
      }
    });
    palette?.addItem({ command: CommandIDs.chooseEndpoint, category: trans.__('Remote cells') });
  }
};
