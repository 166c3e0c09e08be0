/**
 * Anything that keeps a file from being read. `reason` says what kind of problem it is:
 *
 * - "not-odp": the data does not begin like an .odp picture.
 * - "unsupported": the file needs a newer reader.
 * - "damaged": its bytes break the rules of the format.
 * - "too-large": the picture or a chunk is larger than allowed.
 * - "unknown-token-set": its tokens are coded with tables that are not here.
 * - "bad-token-set": the file of a token set is damaged.
 * - "no-model": the files of a model, or the runtime of its networks, do not load.
 */
export class OdpError extends Error {
  /**
   * @param {string} reason one of the above
   * @param {string} message
   */
  constructor(reason, message) {
    super(message);
    this.name = "OdpError";
    this.reason = reason;
  }
}

/** @param {string} message */
export const damaged = (message) => new OdpError("damaged", message);

export function checkTokenSet(condition) {
  if (!condition) throw new OdpError("bad-token-set", "the file of the token set is damaged");
}
