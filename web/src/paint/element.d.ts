/** `<odp-picture>`; importing this module defines it. Its attributes are in README.md. */
export class OdpPicture extends HTMLElement {
  /** In pixels; 0 until the header is there. */
  readonly naturalWidth: number;
  readonly naturalHeight: number;
  /** Whether nothing more will be painted. */
  readonly complete: boolean;
}

declare global {
  interface HTMLElementTagNameMap {
    "odp-picture": OdpPicture;
  }
}
