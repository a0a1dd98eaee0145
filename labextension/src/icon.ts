/** Our icon: an arrow that goes somewhere else. */

import { LabIcon } from '@jupyterlab/ui-components';

export const icon = new LabIcon({
  name: 'jupyter-fx:remote',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">' +
    '<path d="M3 5h8v2H5v10h6v2H3z"/><path d="M13 6l6 6-6 6-1.4-1.4L15.2 13H8v-2h7.2l-3.6-3.6z"/>' +
    '<path d="M19.5 5H22v14h-2.5z"/></g></svg>'
});
