/** Our icon: an arrow that goes somewhere else. */

import { LabIcon } from '@jupyterlab/ui-components';

const PATHS =
  '<path d="M3 5h8v2H5v10h6v2H3z"/><path d="M13 6l6 6-6 6-1.4-1.4L15.2 13H8v-2h7.2l-3.6-3.6z"/>' +
  '<path d="M19.5 5H22v14h-2.5z"/>';
const svg = (attributes: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g ${attributes}>${PATHS}</g></svg>`;

export const icon = new LabIcon({
  name: 'jupyter-fx:remote',
  svgstr: svg('class="jp-icon3" fill="#616161"')
});

/** The same as a picture of its own, in a colour that is seen on light and dark. */
export const iconUrl = `data:image/svg+xml,${encodeURIComponent(svg('fill="#1e88e5"'))}`;
